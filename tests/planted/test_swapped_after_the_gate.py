"""A bundle of something else than what was judged: a file that was exchanged or edited between the gate and the bundle.

The numbers on the card are then about a model that nobody is served.
"""

import json
import sys
from collections.abc import Callable

import pytest
from conftest import Project

from imagewright.files import sha256

FOLDER = "results/bundle/digits8"
BUNDLE = (
    sys.executable, "scripts/bundle.py", "--config", "results/resolve/bundle/digits8.yaml", "--results", "results",
    "--lock", "requirements.lock", "--workflow", "Snakefile", "--out", FOLDER,
)  # fmt: skip


def swap_the_model(project: Project) -> None:
    """As another export would: its record of the file is that of the new one."""
    folder = project.root / "results/export/digits8"
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    record = project.json("results/export/digits8/export.json")
    record["sha256"]["model.onnx"] = sha256(folder / "model.onnx")
    (folder / "export.json").write_text(json.dumps(record))


def polish_the_metrics(project: Project) -> None:
    file = "results/evaluate/digits8/metrics.json"
    metrics = project.json(file)
    metrics["accuracy"]["value"] = 0.999
    (project.root / file).write_text(json.dumps(metrics))


def change_the_temperature(project: Project) -> None:
    file = "results/select/digits8/selection.json"
    (project.root / file).write_text(json.dumps(project.json(file) | {"temperature": 0.5}))


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (swap_the_model, "results/export/digits8/export.json"),
        (polish_the_metrics, "results/evaluate/digits8/metrics.json"),
        (change_the_temperature, "results/select/digits8/selection.json"),
    ],
    ids=["model", "metrics", "temperature"],
)
def test_no_other_file_is_bundled(project: Project, plant: Callable[[Project], None], named: str) -> None:
    before = {path.name: sha256(path) for path in (project.root / FOLDER).iterdir()}
    plant(project)
    done = project.run(*BUNDLE)
    assert done.returncode == 1
    assert f"error: {named}: this is not the file that was gated" in done.stdout
    assert {path.name: sha256(path) for path in (project.root / FOLDER).iterdir()} == before


def test_what_was_gated_is_bundled(project: Project) -> None:
    done = project.run(*BUNDLE)
    assert done.returncode == 0, done.stdout
    assert project.json(f"{FOLDER}/gate.json")["files"].keys() >= {"export/model.onnx", "select/model.safetensors"}
