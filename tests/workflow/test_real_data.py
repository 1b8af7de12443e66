"""Real pictures from real teams: what they got wrong is seen, and what is only odd is read."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imagewright.config.data import DataConfig
from imagewright.config.tensors import InputConfig
from imagewright.errors import DataError
from imagewright.files import read_json
from imagewright.imaging import load_image, read_header
from imagewright.index.build import build_index

REAL = os.environ.get("IMAGEWRIGHT_REAL_DATA")
pytestmark = pytest.mark.skipif(not REAL, reason="IMAGEWRIGHT_REAL_DATA names no folder of real pictures")


def index(folder: str, out: Path, **config: Any) -> dict[str, Any]:
    section = DataConfig.model_validate(
        {"task": "classification", "source": {"kind": "folder"}, "layout": {"kind": "class_folders"}} | config
    ).index_section
    out.mkdir()
    build_index(section, Path(str(REAL)) / folder, out, out / "evidence", workers=2)
    return read_json(out / "report.json")  # type: ignore[no-any-return]


def test_files_that_lie_about_their_type_are_read_by_content() -> None:
    form = InputConfig(height=64, width=64, colour="rgb")
    paths = sorted(path for path in (Path(str(REAL)) / "alcohol_odd_formats").rglob("*") if path.is_file())
    formats = {read_header(path.read_bytes()).format for path in paths}
    assert formats - {"JPEG"}, "all of them are called .jpg, and not all are"
    for path in paths:
        image = load_image(path.read_bytes(), form)
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
        assert image.std() > 1, f"{path.name} came out blank"


def test_faces_have_copies_in_two_splits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than one split"):
        index("fer2013", tmp_path / "stop")
    listed = pd.read_csv(tmp_path / "stop/evidence/duplicates.csv")
    assert listed["pixels"].nunique() >= 29

    report = index("fer2013", tmp_path / "drop", duplicates="drop-from-train")
    assert report["duplicates"]["pictures_in_two_splits"] == 0
    assert len(report["left_out"]["duplicate"]) >= 29
    assert report["classes"] == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def test_drinks_are_cut_into_three_splits(tmp_path: Path) -> None:
    report = index("alcohol", tmp_path / "index", duplicates="drop-from-train")
    assert report["images"] + sum(map(len, report["left_out"].values())) == 750
    shares = [report["splits"][name]["images"] / report["images"] for name in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.01)
