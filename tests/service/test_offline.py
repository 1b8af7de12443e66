"""`imagewright predict`: the same answers for files, and one bad file does not cost the others."""

import csv
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Project
from PIL import Image

from imagewright.config.tensors import InputConfig
from imagewright.errors import ServeError
from imagewright.serve import offline

DIGITS, SHAPES = "results/bundle/digits8", "results/bundle/shapes"


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text[text.index("bundle,file,") :])))


def test_the_answers_are_those_that_were_evaluated(built: Project) -> None:
    import pandas as pd

    index = pd.read_parquet(built.root / "results/index/digits8/index.parquet")
    evaluated = pd.read_parquet(built.root / "results/evaluate/digits8/predictions.parquet").set_index("id")
    test = index[index["split"] == "test"]
    paths = [f"data/raw/digits8/{path}" for path in test["path"]]
    rows = table(built.run("imagewright", "predict", DIGITS, *paths, "--runtime", "onnx").stdout)
    assert [row["file"] for row in rows] == paths
    for row, sample in zip(rows, test["id"], strict=True):
        written = evaluated.loc[sample]
        assert [float(row[f"p/{digit}"]) for digit in range(10)] == pytest.approx(
            [written[f"p/{digit}"] for digit in range(10)], abs=1e-3
        )


def test_folders_patterns_and_bad_files(built: Project, tmp_path: Path) -> None:
    shutil.copytree(built.root / "data/raw/digits8/3", tmp_path / "in/3")
    (tmp_path / "in/3/zz.png").write_text("no picture")
    (tmp_path / "in/notes.txt").write_text("not looked at in a folder")
    out = tmp_path / "out/labels.csv"
    done = built.run("imagewright", "predict", DIGITS, str(tmp_path / "in"), "--out", str(out), "--threshold", "1")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "zz.png: the content is no picture" in done.stdout and "30 files have an answer, 1 do not" in done.stdout
    rows = table(out.read_text())
    assert len(rows) == 30 and {row["unsure"] for row in rows} == {"True"}
    assert sum(row["label"] == "3" for row in rows) > 20
    done = built.run("imagewright", "predict", DIGITS, "data/raw/digits8/[12]/0*.png", "--as", "json")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 20 and {line["bundle"] for line in lines} == {built.json(f"{DIGITS}/bundle.json")["id"]}


def test_masks(built: Project, tmp_path: Path) -> None:
    done = built.run("imagewright", "predict", SHAPES, "data/raw/shapes/images", "--as", "png", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout
    masks = sorted(tmp_path.glob("*.png"))
    assert len(masks) == 48
    truth = [np.asarray(Image.open(built.root / "data/raw/shapes/masks" / mask.name)) for mask in masks]
    same = [np.mean(np.asarray(Image.open(mask)) == true) for mask, true in zip(masks, truth, strict=True)]
    assert np.mean(same) > 0.8
    areas = table(built.run("imagewright", "predict", SHAPES, "data/raw/shapes/images/00.png").stdout)[0]
    shares = [float(areas[f"area/{name}"]) for name in ("background", "disc", "square")]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([np.mean(np.asarray(Image.open(masks[0])) == index) for index in range(3)])


class ByBrightness:
    """A model of 8×8 pixels that answers with one of 256 classes: the picture's own value."""

    def __init__(self, served: Any, threads: int) -> None:
        pass

    def answer(self, images: Any) -> Any:
        return np.eye(256, dtype=np.float32)[images[..., 0]]


SERVED: Any = SimpleNamespace(
    task="segmentation", max_pixels=100, input=InputConfig(height=8, width=8, colour="gray", fit="stretch")
)


def predicted(files: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The values in the masks, in the order of their names; the picture at position n holds n + 1."""
    monkeypatch.setattr(offline, "Model", ByBrightness)
    for position, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), position + 1).save(file, "PNG")
    assert offline.predict_files(SERVED, files, "png", out, 1, None).done == len(files)
    return [int(np.asarray(Image.open(mask))[0, 0]) for mask in sorted(out.iterdir())]


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "a.jpg", "b.png"),
        ("s/a.png", "s/a.jpg", "s/a.tif"),
        ("s/a.png", "t/a.png", "u/s/a.png", "a.png"),
        ("a.jpg", "a.png", "s/a.jpg.tif"),
        ("a-b/c.png", "a/b-c.png", "b-c.png", "x/b-c.png"),
        ("s/A.png", "t/a.png"),
    ],
)
def test_no_mask_overwrites_another(names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    found = predicted([Path(name) for name in names], tmp_path / "out", monkeypatch)
    assert sorted(found) == list(range(1, len(names) + 1))
    folded = {path.name.casefold() for path in (tmp_path / "out").iterdir()}
    assert len(folded) == len(names)


def test_a_mask_has_the_name_of_its_picture() -> None:
    files = [Path(name) for name in ("s/a.png", "s/a.jpg", "t/a.jpg", "/u/b.jpeg")]
    names = offline.output_names(files)
    assert [names[file] for file in files] == ["a.png.png", "s-a.jpg.png", "t-a.jpg.png", "b.png"]


def test_no_mask_overwrites_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServeError, match=r"a\.png: it would be overwritten by an answer"):
        predicted([tmp_path / "a.png"], tmp_path, monkeypatch)
    assert np.asarray(Image.open(tmp_path / "a.png"))[0, 0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((DIGITS, "nowhere.png"), "nowhere.png: there is no such file or folder"),
        ((DIGITS, "config"), "there are no pictures"),
        ((DIGITS, "data/raw/digits8/1", "--as", "png", "--out", "x"), "this model gives labels"),
        ((SHAPES, "data/raw/shapes/images", "--as", "overlay"), "needs a folder"),
        (("results/bundle/none", "data/raw/digits8/1"), "there is no such folder"),
        (("results/export/digits8", "data/raw/digits8/1"), "no gate has judged this model"),
        ((DIGITS, "data/raw/digits8/1", "--runtime", "tpu"), "there is no runtime 'tpu'"),
    ],
)
def test_what_cannot_be_done_is_said(built: Project, arguments: tuple[str, ...], words: str) -> None:
    done = built.run("imagewright", "predict", *arguments)
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert f"error: {words}" in done.stdout or words in done.stdout.split("error: ")[1].splitlines()[0]
