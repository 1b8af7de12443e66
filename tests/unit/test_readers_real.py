"""The readers of public data sets on what real teams had on their disks."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from public_data import named_samples, shipped, write

from imagewright.errors import DataError
from imagewright.files import read_json
from imagewright.imaging import load_pixels
from imagewright.index.build import build_index
from imagewright.index.inspect import inspect_samples
from imagewright.index.readers import open_reader
from imagewright.index.readers.fer2013 import EMOTIONS

REAL = Path(os.environ.get("IMAGEWRIGHT_REAL_DATA", ""))
pytestmark = pytest.mark.skipif(
    "IMAGEWRIGHT_REAL_DATA" not in os.environ, reason="IMAGEWRIGHT_REAL_DATA names no folder of real pictures"
)
USAGES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}


def index(name: str, folder: str, out: Path, **changes: Any) -> dict[str, Any]:
    out.mkdir()
    build_index(shipped(name, **changes).index_section, REAL / folder, out, out / "evidence", workers=2)
    return read_json(out / "report.json")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "folder", "splits", "classes"),
    [
        ("emotion", "fer2013", {"train": 2100, "val": 416, "test": 415}, 7),
        ("signs", "gtsrb", {"train": 2380, "test": 516}, 43),
        ("dogs", "stanford_dogs", {None: 1440}, 120),
        ("drinks", "alcohol", {None: 750}, 3),
        ("tissue", "bcss_patches", {"train": 5, "val": 3}, 3),
    ],
)
def test_every_image_is_listed(name: str, folder: str, splits: dict[str | None, int], classes: int) -> None:
    config = shipped(name)
    samples = open_reader(config.layout, REAL / folder).samples()
    assert Counter(sample.split for sample in samples) == splits
    assert len(config.class_names or []) == classes
    assert len({sample.id for sample in samples}) == len(samples)
    if config.task == "classification":
        assert {sample.label for sample in samples} == set(config.class_names or [])


def test_odd_formats_are_all_readable() -> None:
    reader = open_reader(shipped("drinks").layout, REAL / "alcohol_odd_formats")
    seen = inspect_samples(reader, reader.samples(), None, 10**8, 1)
    assert len(seen) == 9 and set(seen["problem"]) == {""}


def test_signs_keep_their_tracks_together(tmp_path: Path) -> None:
    # Class 0 has seven tracks: validation is cut so that it holds every class all the same.
    report = index("signs", "gtsrb", tmp_path / "index")
    assert report["splits"]["test"]["images"] == 516
    assert min(report["splits"]["val"]["classes"].values()) > 0
    assert report["splits"]["val"]["images"] / report["images"] == pytest.approx(0.15, abs=0.03)
    assert report["names"]["14"] == "Stop"


def test_tiles_of_one_patient_make_no_three_splits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="first: 'TCGA-A1-A0SK' is in train, val"):
        index("tissue", "bcss_patches", tmp_path / "patients")
    # Whoever wants to try the workflow on one patient has to say so.
    split = shipped("tissue").split.model_dump() | {"group": r"MPP-0_(\d+_\d+)_size"}
    assert index("tissue", "bcss_patches", tmp_path / "tiles", split=split)["images"] == 8


def test_a_table_of_the_real_faces_gives_the_same_pixels(tmp_path: Path) -> None:
    _, samples = named_samples("emotion", REAL / "fer2013")
    files = open_reader(shipped("emotion").layout, REAL / "fer2013")
    lines = ["emotion,pixels,Usage"]
    for sample in samples:
        pixels = load_pixels(files.read(sample.path))
        written = " ".join(map(str, pixels.ravel().tolist()))
        lines.append(f"{EMOTIONS.index(str(sample.label))},{written},{USAGES[str(sample.split)]}")
    write(tmp_path / "fer2013.csv", lines)
    classes, rows = named_samples("emotion", tmp_path)
    table = open_reader(shipped("emotion").layout, tmp_path)
    assert classes == list(EMOTIONS)
    assert [(row.label, row.split) for row in rows] == [(sample.label, sample.split) for sample in samples]
    seen = [inspect_samples(reader, listed, None, 10_000, 2) for reader, listed in ((files, samples), (table, rows))]
    assert np.array_equal(seen[0]["pixels"], seen[1]["pixels"])
