"""Two builds of an experiment beside each other: the first stage that differs is named, and nothing is overlooked."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imagewright.bundle.fingerprints import fingerprints
from imagewright.config.bundle import BundleSection
from imagewright.errors import ReproduceError
from imagewright.files import read_json, sha256, write_json
from imagewright.reproduce.causes import changes
from imagewright.reproduce.compare import is_within
from imagewright.reproduce.facts import read_rebuilt, read_recorded
from imagewright.reproduce.verdict import Verdict, judge

SECTION = BundleSection(
    experiment="pets", data="pets", tensors="pets-rgb8", trials=["default"], overrides=["train.epochs=2"]
)
ENVIRONMENT = {"instructions": "AVX512", "threads": 2, "packages": {"torch": "2.13.0", "numpy": "2.4.6"}}


def metric(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


METRICS = {"accuracy": metric(0.9, 0.8, 0.95), "f1/cat": metric(0.9, 0.85, 0.95)}


def write_results(results: Path) -> None:
    """What the stages leave, as far as it is compared: four images, one trial."""
    for folder in ("index/pets", "train/pets/default", "select/pets", "evaluate/pets"):
        (results / folder).mkdir(parents=True)
    names = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]
    index = pd.DataFrame(
        {
            "id": names,
            "sha256": ["a", "b", "c", "d"],
            "label": ["cat", "cat", "dog", "dog"],
            "mask_sha256": "",
            "split": ["train", "test", "train", "val"],
        }
    )
    index.to_parquet(results / "index/pets/index.parquet")
    splits = {name: {"sha256": name} for name in ("train", "val", "test")}
    write_json(results / "tensors/pets-rgb8/meta.json", {"mean": [0.5], "splits": splits})
    for folder in ("train/pets/default", "select/pets"):
        (results / folder / "model.safetensors").write_bytes(b"weights")
    (results / "train/pets/default/history.csv").write_text("epoch\n1\n")
    write_json(results / "train/pets/default/trial.json", {"effective": {"epochs": 1}, "environment": ENVIRONMENT})
    write_json(
        results / "select/pets/selection.json",
        {"trial": "default", "value": 0.9, "temperature": 1.1, "trials": [{"trial": "default"}]},
    )
    write_json(results / "evaluate/pets/metrics.json", {**METRICS, "n": 1, "baseline": {"accuracy": 0.5}})
    predictions = pd.DataFrame({"id": ["cat/2.png"], "label": ["cat"], "p/cat": [0.9], "p/dog": [float("nan")]})
    predictions.to_parquet(results / "evaluate/pets/predictions.parquet")
    exported = {"model.onnx": "o", "model.int8.onnx": "i"}
    runtimes = {"onnx": "model.onnx", "int8": "model.int8.onnx"}
    write_json(results / "export/pets/export.json", {"sha256": exported, "runtimes": runtimes})
    runtime = {"passed": True, "flips": 0, "decisions": 1, "p50_ms": 1.5, "metrics": METRICS}
    write_json(results / "gate/pets/gate.json", {"passed": True, "runtimes": {"torch": runtime, "int8": runtime}})
    for stage in ("train", "gate"):
        code = {"all": stage, "scripts/all.py": "1", f"scripts/{stage}.py": "1"}
        write_json(results / f"resolve/code/{stage}.json", code)
    for name in ("fetch/pets", "index/pets", "tensors/pets-rgb8", "train/pets/default"):
        write_section(results, name, "a: 1\n")
    for stage in ("select", "evaluate", "export", "gate"):
        write_section(results, f"{stage}/pets", "a: 1\n")
    write_provenance(results)
    write_bundle(results)


def write_section(results: Path, name: str, text: str) -> None:
    path = results / "resolve" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_provenance(results: Path) -> None:
    """What `resolve` says of the sections and the code that lie here."""
    resolved = results / "resolve"
    sections = {path.relative_to(resolved).as_posix(): sha256(path) for path in resolved.rglob("*.yaml")}
    code = {path.stem: read_json(path)["all"] for path in resolved.glob("code/*.json")}
    write_json(resolved / "provenance/pets.json", {"sections": sections, "code": code})


def write_bundle(results: Path, lock: str = "torch==2.13.0\n") -> None:
    (results / "requirements.lock").write_text(lock)
    bundle = {"data": "pets", "tensors": "pets-rgb8", "overrides": SECTION.overrides, "default_runtime": "int8"}
    bundle["fingerprints"] = fingerprints(SECTION, results, results / "requirements.lock")
    write_json(results / "bundle/pets/bundle.json", bundle)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    write_results(tmp_path / "recorded")
    return tmp_path / "recorded"


@pytest.fixture
def rebuilt(recorded: Path, tmp_path: Path) -> Path:
    shutil.copytree(recorded, tmp_path / "rebuilt")
    return tmp_path / "rebuilt"


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change what a JSON file holds."""
    value = read_json(path)
    change(value)
    write_json(path, value)


def verdict(recorded: Path, rebuilt: Path) -> Verdict:
    there, here = read_recorded(recorded, "pets"), read_rebuilt(SECTION, rebuilt)
    return judge(there, here, changes(there, recorded, rebuilt))


def states(verdict: Verdict) -> dict[str, str]:
    """What is said of each stage."""
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in verdict.lines[:8]}


def test_the_same_results_are_identical(recorded: Path, rebuilt: Path) -> None:
    # Latencies are never twice the same, and what is fastest follows from them.
    edit(rebuilt / "gate/pets/gate.json", lambda gate: gate["runtimes"]["int8"].update(p50_ms=9.0))
    edit(rebuilt / "bundle/pets/bundle.json", lambda bundle: bundle.update(default_runtime="onnx"))
    found = verdict(recorded, rebuilt)
    assert (found.reproduced, found.answer) == (True, "pets: identical")
    assert set(states(found).values()) == {"same"}


def change_image(results: Path) -> None:
    path = results / "index/pets/index.parquet"
    index = pd.read_parquet(path)
    index.loc[2, "sha256"] = "x"
    index.to_parquet(path)


def move_image(results: Path) -> None:
    path = results / "index/pets/index.parquet"
    index = pd.read_parquet(path)
    index.loc[3, "split"] = "train"
    index.to_parquet(path)


def drop_image(results: Path) -> None:
    path = results / "index/pets/index.parquet"
    pd.read_parquet(path).iloc[:-1].to_parquet(path)


def change_tensors(results: Path) -> None:
    edit(results / "tensors/pets-rgb8/meta.json", lambda meta: meta["splits"]["val"].update(sha256="x"))


def change_weights(results: Path) -> None:
    (results / "train/pets/default/model.safetensors").write_bytes(b"others")


def change_history(results: Path) -> None:
    (results / "train/pets/default/history.csv").write_text("epoch\n2\n")


def change_temperature(results: Path) -> None:
    edit(results / "select/pets/selection.json", lambda selection: selection.update(temperature=1.2))


def change_metric(results: Path) -> None:
    edit(results / "evaluate/pets/metrics.json", lambda metrics: metrics["accuracy"].update(value=0.91))


def change_prediction(results: Path) -> None:
    path = results / "evaluate/pets/predictions.parquet"
    pd.read_parquet(path).assign(**{"p/cat": 0.90001}).to_parquet(path)


def change_onnx(results: Path) -> None:
    edit(results / "export/pets/export.json", lambda export: export["sha256"].update({"model.int8.onnx": "x"}))


def change_decision(results: Path) -> None:
    edit(results / "gate/pets/gate.json", lambda gate: gate["runtimes"]["int8"].update(flips=1))


def change_mark(results: Path) -> None:
    edit(results / "bundle/pets/bundle.json", lambda bundle: bundle["fingerprints"].update(weights="x"))


CHANGES = [
    (change_image, "index: data (dog/1.png)"),
    (move_image, "index: split (dog/2.png)"),
    (drop_image, "index: data (dog/2.png), split (dog/2.png)"),
    (change_tensors, "tensors: split (val)"),
    (change_weights, "train: trial default (weights)"),
    (change_history, "train: trial default (history)"),
    (change_temperature, "select: temperature"),
    (change_metric, "evaluate: metrics (accuracy)"),
    (change_prediction, "evaluate: predictions (cat/2.png)"),
    (change_onnx, "export: model.int8.onnx"),
    (change_decision, "gate: int8 (flips)"),
    (change_mark, "bundle: weights"),
]


@pytest.mark.parametrize(("change", "told"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_the_first_difference_is_named(
    recorded: Path, rebuilt: Path, change: Callable[[Path], None], told: str
) -> None:
    change(rebuilt)
    # What comes later differs as well, as it would; the first one counts.
    if change is not change_mark:
        change_mark(rebuilt)
    found = verdict(recorded, rebuilt)
    assert (found.reproduced, found.answer) == (False, f"pets: first difference at {told}")
    assert {stage for stage, state in states(found).items() if state != "same"} == {told.split(":")[0], "bundle"}


def test_trials_that_only_one_side_has(recorded: Path, rebuilt: Path) -> None:
    shutil.copytree(rebuilt / "train/pets/default", rebuilt / "train/pets/other")
    there = read_recorded(recorded, "pets")
    here = read_rebuilt(SECTION.model_copy(update={"trials": ["other"]}), rebuilt)
    found = judge(there, here)
    assert found.answer == "pets: first difference at train: trial default is recorded only, trial other is new"


def test_a_build_that_stopped(recorded: Path, rebuilt: Path) -> None:
    change_weights(rebuilt)
    shutil.rmtree(rebuilt / "evaluate")
    found = verdict(recorded, rebuilt)
    assert states(found)["train"].startswith("differs") and states(found)["select"] == "same"
    assert {states(found)[stage] for stage in ("evaluate", "export", "gate", "bundle")} == {"not built"}
    assert not found.reproduced and "first difference at train" in found.answer


@pytest.mark.parametrize(
    "missing",
    [
        "index/pets/index.parquet", "tensors/pets-rgb8/meta.json", "train/pets/default/model.safetensors",
        "train/pets/default/history.csv", "select/pets/selection.json", "evaluate/pets/predictions.parquet",
        "export/pets/export.json", "gate/pets/gate.json", "bundle/pets/bundle.json",
    ],
)  # fmt: skip
def test_a_missing_record_is_named(recorded: Path, missing: str) -> None:
    (recorded / missing).unlink()
    with pytest.raises(ReproduceError, match=f"{missing}: there is no such file.*\n.*imagewright pull"):
        read_recorded(recorded, "pets")


def test_a_broken_record_is_named(recorded: Path) -> None:
    (recorded / "gate/pets/gate.json").write_text("{")
    with pytest.raises(ReproduceError, match="gate: what is recorded of pets cannot be read"):
        read_recorded(recorded, "pets")


# Another environment: bits may differ, metrics may not.


def on_another_machine(results: Path, **values: Any) -> None:
    """A training elsewhere, which gave other weights."""
    edit(results / "train/pets/default/trial.json", lambda trial: trial["environment"].update(values))
    change_weights(results)
    write_bundle(results)


def test_another_environment_is_named_and_metrics_are_compared(recorded: Path, rebuilt: Path) -> None:
    on_another_machine(rebuilt, instructions="AVX2", threads=1, packages={"torch": "2.14.0", "numpy": "2.4.6"})
    change_metric(rebuilt)
    found = verdict(recorded, rebuilt)
    assert found.lines[8:11] == [
        "environment: instructions: AVX512 -> AVX2",
        "environment: threads: 2 -> 1",
        "environment: torch: 2.13.0 -> 2.14.0",
    ]
    assert found.lines[11:] == [
        "accuracy: 0.9000 (0.8000 to 0.9500) -> 0.9100 (0.8000 to 0.9500): within",
        "int8 accuracy: 0.9000 (0.8000 to 0.9500) -> 0.9000 (0.8000 to 0.9500): within",
    ]
    assert found.reproduced and "not identical (first difference at train), as expected" in found.answer


def test_a_metric_outside_of_its_interval(recorded: Path, rebuilt: Path) -> None:
    on_another_machine(rebuilt, instructions="AVX2")
    edit(rebuilt / "evaluate/pets/metrics.json", lambda metrics: metrics["accuracy"].update(value=0.79))
    found = verdict(recorded, rebuilt)
    assert not found.reproduced
    assert found.answer.endswith("outside of what was recorded: accuracy")
    assert "accuracy: 0.9000 (0.8000 to 0.9500) -> 0.7900 (0.8000 to 0.9500): outside" in found.lines


def test_the_metrics_of_what_is_served_count_as_well(recorded: Path, rebuilt: Path) -> None:
    on_another_machine(rebuilt, instructions="AVX2")
    edit(rebuilt / "gate/pets/gate.json", lambda gate: gate["runtimes"]["int8"].update(passed=False))
    edit(rebuilt / "gate/pets/gate.json", lambda gate: gate["runtimes"]["int8"]["metrics"]["accuracy"].update(value=0))
    found = verdict(recorded, rebuilt)
    assert found.answer.endswith("outside of what was recorded: int8 accuracy, int8 (the gate leaves it out)")


def test_one_class_outside_is_named_and_does_not_decide(recorded: Path, rebuilt: Path) -> None:
    on_another_machine(rebuilt, instructions="AVX2")
    edit(rebuilt / "evaluate/pets/metrics.json", lambda metrics: metrics["f1/cat"].update(value=0.5))
    found = verdict(recorded, rebuilt)
    assert found.reproduced
    assert any(line.startswith("f1/cat: ") and line.endswith("outside") for line in found.lines)


def test_another_environment_does_not_excuse_other_images(recorded: Path, rebuilt: Path) -> None:
    on_another_machine(rebuilt, instructions="AVX2")
    change_image(rebuilt)
    found = verdict(recorded, rebuilt)
    assert not found.reproduced and "first difference at index" in found.answer


def test_the_same_results_on_another_machine(recorded: Path, rebuilt: Path) -> None:
    on_another_machine(rebuilt, instructions="AVX2")
    shutil.copyfile(recorded / "train/pets/default/model.safetensors", rebuilt / "train/pets/default/model.safetensors")
    found = verdict(recorded, rebuilt)
    assert found.reproduced and found.answer == "pets: every result is the same; only the environment is another"


def test_another_lock_is_another_environment(recorded: Path, rebuilt: Path) -> None:
    write_bundle(rebuilt, lock="torch==2.13.0\nscipy==2.0.0\n")
    found = verdict(recorded, rebuilt)
    assert found.reproduced and any("requirements.lock" in line for line in found.lines)


WITHIN = [
    (metric(0.9, 0.8, 0.95), metric(0.95, 0.9, 0.98), True),
    (metric(0.9, 0.8, 0.95), metric(0.96, 0.9, 0.98), False),
    # All was right, so that no resample differed: one mistake is not another model.
    (metric(1.0, 1.0, 1.0), metric(0.98, 0.93, 1.0), True),
    (metric(1.0, 1.0, 1.0), metric(0.8, 0.7, 0.9), False),
    (metric(1.0, 1.0, 1.0), metric(0.8, 0.8, 0.8), False),
    # A calibration error may be smaller than all that resampling gives.
    (metric(0.010, 0.012, 0.03), metric(0.011, 0.012, 0.03), True),
    (metric(0.010, 0.012, 0.03), metric(0.009, 0.012, 0.03), False),
    # A class that does not occur has no value.
    ({"value": None, "low": None, "high": None}, {"value": None, "low": None, "high": None}, True),
    ({"value": None, "low": None, "high": None}, metric(0.9, 0.8, 0.95), False),
    (metric(0.9, 0.8, 0.95), {}, False),
]


@pytest.mark.parametrize(("recorded_metric", "rebuilt_metric", "expected"), WITHIN)
def test_within(recorded_metric: dict[str, Any], rebuilt_metric: dict[str, Any], expected: bool) -> None:
    assert is_within(recorded_metric, rebuilt_metric) is expected


# Config and code that have changed since.


def test_a_changed_section_and_a_changed_file_are_named(recorded: Path, rebuilt: Path) -> None:
    write_section(rebuilt, "train/pets/default", "a: 2\n")
    code = {"all": "x", "scripts/all.py": "1", "scripts/gate.py": "2"}
    write_json(rebuilt / "resolve/code/gate.json", code)
    write_provenance(rebuilt)
    there = read_recorded(recorded, "pets")
    told = ["config has changed (train/pets/default.yaml)", "code has changed (scripts/gate.py)"]
    assert changes(there, recorded, rebuilt) == told
    write_bundle(rebuilt)
    assert judge(there, read_rebuilt(SECTION, rebuilt), told).answer == (
        f"pets: first difference at bundle: code, config; {told[0]} and {told[1]} since it was recorded"
    )
    # Sections that were resolved again since the record say nothing of it.
    shutil.rmtree(recorded / "resolve")
    shutil.copytree(rebuilt / "resolve", recorded / "resolve")
    assert changes(there, recorded, rebuilt) == ["config has changed", "code has changed"]
