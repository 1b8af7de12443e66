"""One picture in train and in test, under another name or in another format: the score would count what was learnt."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import Project
from PIL import Image
from stopped import DIGITS, check_passes, check_stopped

RAW = "data/raw/digits8"
INDEX = ("results/index/digits8/index.parquet", "results/index/digits8/report.json")
ORIGINAL = "train/3/00.png"


@pytest.fixture
def divided(unbuilt: Project) -> Project:
    """The digits in folders `train` and `test`, as many data sets come."""
    raw = unbuilt.root / RAW
    for path in sorted(raw.glob("*/*.png")):
        target = raw / ("train" if int(path.stem) < 22 else "test") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for folder in raw.glob("[0-9]"):
        folder.rmdir()
    return unbuilt


def copy_bytes(source: Path, folder: Path) -> Path:
    return Path(shutil.copy2(source, folder / "again.png"))


def save_uncompressed(source: Path, folder: Path) -> Path:
    Image.open(source).save(folder / "again.png", compress_level=0)
    return folder / "again.png"


def save_bmp(source: Path, folder: Path) -> Path:
    Image.open(source).save(folder / "again.bmp")
    return folder / "again.bmp"


def save_in_colour(source: Path, folder: Path) -> Path:
    Image.open(source).convert("RGB").save(folder / "again.webp", lossless=True)
    return folder / "again.webp"


def set_policy(project: Project, policy: str) -> None:
    path = "config/data/digits8.yaml"
    project.write_yaml(path, yaml.safe_load((project.root / path).read_text()) | {"duplicates": policy})


@pytest.mark.parametrize(
    "copy", [copy_bytes, pytest.param(save_uncompressed, marks=pytest.mark.proof), save_bmp, save_in_colour]
)
def test_stop_is_the_default(divided: Project, copy: Callable[[Path, Path], Path]) -> None:
    again = copy(divided.root / RAW / ORIGINAL, divided.root / RAW / "test/3")
    done = divided.snakemake("index_all", *DIGITS)
    check_stopped(
        divided, done, "1 pictures are in more than one split", ORIGINAL, f"test/3/{again.name} (test)",
        "drop-from-train", absent=INDEX,
    )  # fmt: skip
    evidence = pd.read_csv(divided.root / "logs/index/digits8/duplicates.csv")
    assert set(evidence["path"]) == {ORIGINAL, f"test/3/{again.name}"}
    if copy is copy_bytes:  # the twin is the same for all
        again.unlink()
        assert divided.snakemake("index_all", *DIGITS).returncode == 0
        check_passes(divided, *INDEX)


def test_drop_from_train_keeps_the_copy_that_judges(divided: Project) -> None:
    save_bmp(divided.root / RAW / ORIGINAL, divided.root / RAW / "test/3")
    set_policy(divided, "drop-from-train")
    assert divided.snakemake("index_all", *DIGITS).returncode == 0
    rows = pd.read_parquet(divided.root / INDEX[0]).set_index("path")
    assert ORIGINAL not in rows.index
    assert rows.loc["test/3/again.bmp", "split"] == "test"
    assert rows.groupby("pixels")["split"].nunique().max() == 1
    report = divided.json(INDEX[1])
    assert report["left_out"]["duplicate"] == [{"path": ORIGINAL}]
    assert report["splits"]["test"]["images"] == 81


def test_report_keeps_both_and_says_so(divided: Project) -> None:
    save_bmp(divided.root / RAW / ORIGINAL, divided.root / RAW / "test/3")
    set_policy(divided, "report")
    assert divided.snakemake("index_all", *DIGITS).returncode == 0
    rows = pd.read_parquet(divided.root / INDEX[0]).set_index("path")
    assert {ORIGINAL, "test/3/again.bmp"} <= set(rows.index)
    report = divided.json(INDEX[1])
    assert report["left_out"]["duplicate"] == []
    assert report["duplicates"]["pictures_in_two_splits"] == 1
