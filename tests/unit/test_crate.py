"""The crate of a bundle: what an archive or another tool reads of it has to be whole, true and nobody's secret."""

import socket
from pathlib import Path
from typing import Any

import pytest
from crate_rules import check_crate

from imagewright.bundle.crate import write_crate
from imagewright.files import read_json, sha256, write_json

METRICS = {
    "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95},
    "f1/cat": {"value": 0.7, "low": 0.6, "high": 0.8},
    "top5_accuracy": {"value": None, "low": None, "high": None},
}
BUNDLE: dict[str, Any] = {
    "id": "0123456789ab",
    "experiment": "pets",
    "data": "pets",
    "task": "classification",
    "classes": ["cat", "dog"],
    "model": {"name": "resnet10t", "library": "timm"},
    "metrics": METRICS,
}
TRAINING = {"device": "cpu", "machine": "x86_64", "instructions": "AVX2", "threads": 2}
RECORD: dict[str, Any] = {
    "experiment": "pets",
    "commit": "c0ffee",
    "dirty": True,
    "lock": "1" * 64,
    "fingerprints": {"data": "d" * 64},
    "hardware": {"training": TRAINING},
    "stages": [
        {"stage": "fetch", "name": "pets", "seconds": 2.5, "peak_memory_mb": None, "note": "it ended too early"},
        {"stage": "train", "name": "pets/default", "seconds": 57.5, "peak_memory_mb": 812.25},
    ],
    "written": "2026-11-21T12:01:00+00:00",
}
SECTIONS = {"train/pets/default.yaml": "a" * 64}
ACTION = "#run-0123456789ab"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "results/bundle/pets"
    folder.mkdir(parents=True)
    (tmp_path / "Snakefile").write_text("rule all:\n    pass\n")
    for name in ("model.onnx", "model.int8.onnx", "card.md", "something.new"):
        (folder / name).write_text(name)
    for name in ("bundle", "gate", "record", "input", "labels", "export"):
        write_json(folder / f"{name}.json", {"name": name})
    return folder


def crate_of(folder: Path, **record: Any) -> Any:
    write_crate(BUNDLE, RECORD | record, SECTIONS, folder.parents[2] / "Snakefile", folder)
    return check_crate(folder)


def test_it_keeps_every_rule_of_its_profile(bundle: Path) -> None:
    before = {path.name: sha256(path) for path in bundle.iterdir()}
    crate_of(bundle)
    after = {path.name: sha256(path) for path in bundle.iterdir()}
    assert set(after) - set(before) == {"Snakefile", "ro-crate-metadata.json"}
    assert before.items() <= after.items()


def test_a_file_that_changes_later_is_noticed(bundle: Path) -> None:
    crate_of(bundle)
    (bundle / "model.onnx").write_text("MODEL.ONNX")
    with pytest.raises(AssertionError):
        check_crate(bundle)


def test_what_went_in_and_what_came_out(bundle: Path) -> None:
    crate = crate_of(bundle)
    action = crate.get(ACTION)
    given = {entity["name"]: entity["sha256"] for entity in action["object"]}
    sections = {f"results/resolve/{name}": mark for name, mark in SECTIONS.items()}
    assert given == {"Images and labels of pets": "d" * 64, **sections, "requirements.lock": "1" * 64}
    results = {entity.id for entity in action["result"]}
    assert {"model.onnx", "model.int8.onnx", "bundle.json", "gate.json", "something.new"} <= results
    assert not {"Snakefile", "record.json"} & results
    assert crate.get("record.json")["about"] is action


def test_metrics_over_all_classes_come_with_their_interval(bundle: Path) -> None:
    values = [entity for entity in crate_of(bundle).get(ACTION)["result"] if entity.type == "PropertyValue"]
    assert [(one["name"], one["value"], one["minValue"], one["maxValue"]) for one in values] == [
        ("accuracy on test", 0.9, 0.8, 0.95)
    ]


def test_the_use_of_each_stage_is_in_seconds_and_mebibytes(bundle: Path) -> None:
    uses = crate_of(bundle).get(ACTION)["resourceUsage"]
    assert {use["name"]: (use["value"], use["unitCode"].rsplit("/", 1)[1]) for use in uses} == {
        "fetch pets: wall-clock time": (2.5, "SEC"),
        "train pets/default: wall-clock time": (57.5, "SEC"),
        "train pets/default: peak memory": (812.25, "MebiBYTE"),
    }


def test_from_start_to_end_is_what_the_stages_took(bundle: Path) -> None:
    action = crate_of(bundle).get(ACTION)
    assert (action["startTime"], action["endTime"]) == ("2026-11-21T12:00:00+00:00", "2026-11-21T12:01:00+00:00")


def test_no_start_is_made_up(bundle: Path) -> None:
    stages = [{"stage": "fetch", "name": "pets", "seconds": None, "peak_memory_mb": None, "note": "it is missing"}]
    action = crate_of(bundle, stages=stages).get(ACTION)
    assert "startTime" not in action and "resourceUsage" not in action


def test_the_code_is_named(bundle: Path) -> None:
    crate = crate_of(bundle)
    assert crate.mainEntity["version"] == "c0ffee"
    assert "commit c0ffee, with uncommitted changes" in crate.get(ACTION)["description"]
    crate = crate_of(bundle, commit=None, dirty=None)
    assert "version" not in crate.mainEntity
    assert "commit unknown. " in crate.get(ACTION)["description"]


def test_it_names_no_folder_and_no_machine(bundle: Path) -> None:
    crate_of(bundle)
    text = str(read_json(bundle / "ro-crate-metadata.json"))
    assert str(bundle) not in text and bundle.parents[2].name not in text and socket.gethostname() not in text
