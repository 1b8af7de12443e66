"""Each of the five projects runs on its real images; what it reaches is measured by benchmarks/projects.py."""

import os
from pathlib import Path

import pytest
from conftest import Project
from projects import prepare

REAL = os.environ.get("IMAGEWRIGHT_REAL_DATA")
TEST_IMAGES = {"emotion": 415, "tissue": 2, "drinks": 114, "signs-mobilenet": 516, "dogs": 216}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not REAL, reason="IMAGEWRIGHT_REAL_DATA names no folder of real pictures")
def test_an_epoch_of_each(tmp_path: Path) -> None:
    prepare(Path(str(REAL)), tmp_path)
    project = Project(tmp_path, timeout=1100)
    overrides = "overrides=[train.epochs=1,tracking=disabled]"
    done = project.snakemake("evaluate_all", "--config", f"experiments={','.join(TEST_IMAGES)}", overrides)
    assert done.returncode == 0, done.stdout[-4000:]
    for experiment, images in TEST_IMAGES.items():
        folder = next((tmp_path / "results/evaluate").glob(f"{experiment}~*")).relative_to(tmp_path)
        metrics = project.json(f"{folder}/metrics.json")
        assert metrics["n"] == images
        if experiment == "tissue":
            assert "dice/outside_roi" not in metrics and {"dice/tumor", "dice/stroma"} <= metrics.keys()
        if experiment in ("drinks", "dogs"):
            # An epoch of a new head on ImageNet features says more than the most frequent class.
            assert metrics["accuracy"]["low"] > metrics["baseline"]["accuracy"]
    # Photographs of many sizes, as their files are, through the server.
    done = project.snakemake("gate_all", "--config", "experiments=drinks", overrides)
    assert done.returncode == 0, done.stdout[-4000:]
    folder = next((tmp_path / "results/gate").glob("drinks~*")).relative_to(tmp_path)
    live = project.json(f"{folder}/gate.json")["runtimes"]["http"]
    assert (live["decisions"], live["flips"], live["passed"]) == (TEST_IMAGES["drinks"], 0, True)
    dogs = project.json("results/index/dogs/report.json")
    assert len(dogs["classes"]) == 120 and all(name.startswith("n0") for name in dogs["classes"])
    assert dogs["names"]["n02085620"] == "Chihuahua"
