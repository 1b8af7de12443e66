"""The model card: what a stranger reads before he trusts the model, from the records alone."""

from pathlib import Path
from typing import Any

import pytest

from imagewright.bundle.card import write_card

BUNDLE: dict[str, Any] = {
    "id": "0123456789ab",
    "experiment": "pets",
    "task": "classification",
    "classes": ["cat", "dog"],
    "names": {"dog": "Good dog"},
    "pretrained": {"source": "package:some-weights"},
    "normalisation": {"mean": [0.5], "std": [0.5], "from": "timm"},
    "input": {"height": 28, "width": 32, "colour": "gray"},
    "model": {"name": "resnet10t", "library": "timm"},
    "default_runtime": "int8",
    "metrics": {
        "accuracy": {"value": 0.91234, "low": 0.88, "high": 0.94},
        "f1/dog": {"value": None, "low": None, "high": None},
    },
    "baseline": {"class": "cat", "accuracy": 0.5},
    "fingerprints": {"data": "d" * 64, "onnx": "e" * 64},
}
INDEX: dict[str, Any] = {
    "splits": {name: {"images": 2 * n, "groups": n} for name, n in (("train", 60), ("val", 9), ("test", 8))},
    "left_out": {"unreadable": [{"path": "a"}, {"path": "b"}], "gap": [], "duplicate": [{"path": "c"}]},
}  # fmt: skip
RUNTIME = {"metric": 0.9, "flips": 3, "decisions": 16, "max_abs_diff": 0.0123, "p50_ms": 1.5, "passed": True}
GATE = {"runtimes": {"torch": RUNTIME, "int8": RUNTIME | {"metric": 0.87, "passed": False}}}
RECORD: dict[str, Any] = {"commit": "c0ffee", "dirty": False}


def card(path: Path, groups: int = 50, **bundle: Any) -> list[str]:
    write_card(BUNDLE | bundle, INDEX, {"groups": groups}, GATE, RECORD, path / "card.md")
    return (path / "card.md").read_text().splitlines()


def test_what_it_says(tmp_path: Path) -> None:
    lines = card(tmp_path)
    assert lines[0] == "# pets"
    text = "\n".join(lines)
    assert "Bundle `0123456789ab`: classification into 2 classes with resnet10t (timm), on 28×32 gray pictures." in text
    assert "Classes, in the order of the outputs: cat, dog (Good dog)." in lines
    assert "It started from the weights of package:some-weights;" in text
    assert "It started from random weights;" in "\n".join(card(tmp_path, pretrained={"source": "none"}))
    assert "| test | 16 | 8 |" in lines
    assert "Left out: 2 (unreadable), 1 (duplicate)." in lines
    assert f"- onnx: `{'e' * 64}`" in lines


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"commit": "c0ffee", "dirty": False}, "- commit: `c0ffee`"),
        ({"commit": "c0ffee", "dirty": True}, "- commit: `c0ffee`, with uncommitted changes"),
        ({"commit": "c0ffee", "dirty": None}, "- commit: `c0ffee`"),
        ({"commit": None, "dirty": None}, "- commit: not known"),
    ],
)
def test_the_commit_is_told(tmp_path: Path, record: dict[str, Any], line: str) -> None:
    write_card(BUNDLE, INDEX, {"groups": 50}, GATE, record, tmp_path / "card.md")
    assert line in (tmp_path / "card.md").read_text().splitlines()


def test_a_number_stands_beside_its_interval_and_the_baseline(tmp_path: Path) -> None:
    assert "| accuracy | 0.9123 | 0.8800 to 0.9400 | 0.5000 |" in card(tmp_path)


def test_an_undefined_metric_is_left_out(tmp_path: Path) -> None:
    assert not any("f1/dog" in line for line in card(tmp_path))


def test_the_numbers_are_said_to_be_those_of_what_is_served(tmp_path: Path) -> None:
    assert "## How good it is: the default runtime (int8) on the test split" in card(tmp_path)
    assert "## How good it is: the default runtime (onnx) on the test split" in card(tmp_path, default_runtime="onnx")


def test_a_runtime_that_did_not_pass_is_marked(tmp_path: Path) -> None:
    lines = card(tmp_path)
    assert "| torch | 0.9000 | 3 of 16 | 0.012 | 1.50 | passed |" in lines
    assert "| int8 | 0.8700 | 3 of 16 | 0.012 | 1.50 | left out |" in lines


@pytest.mark.parametrize(("groups", "warned"), [(8, True), (19, True), (20, False), (500, False)])
def test_few_groups_are_a_warning(tmp_path: Path, groups: int, warned: bool) -> None:
    # Five patients give a narrow interval and no knowledge.
    assert ("likely to be too narrow" in "\n".join(card(tmp_path, groups))) is warned


def test_tables_are_tables(tmp_path: Path) -> None:
    width = 0
    for line in card(tmp_path):
        width = 0 if not line.startswith("|") else width or line.count("|")
        assert line.count("|") == width
