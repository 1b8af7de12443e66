"""Each of the five projects runs on its real images; what it reaches is measured by benchmarks/projects.py."""

import os
from pathlib import Path

import pytest
from conftest import Project
from projects import prepare

REAL = os.environ.get("IMAGEWRIGHT_REAL_DATA")
TEST_IMAGES = {"emotion": 415, "tissue": 2, "drinks": 114, "signs-mobilenet": 516, "dogs": 216}
# One of each task; the others' files are read in tests/unit/test_readers_real.py.
QUICK = ("tissue", "drinks")
ONE_EPOCH = "overrides=[train.epochs=1,tracking=disabled]"

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not REAL, reason="IMAGEWRIGHT_REAL_DATA names no folder of real pictures"),
]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("projects")
    prepare(Path(str(REAL)), root)
    return Project(root, timeout=1100)


def built(projects: Project, target: str, stage: str, experiment: str) -> Path:
    """Run the workflow up to a target; gives the experiment's folder of a stage."""
    done = projects.snakemake(target, "--config", f"experiments={experiment}", ONE_EPOCH)
    assert done.returncode == 0, done.stdout[-4000:]
    return next((projects.root / "results" / stage).glob(f"{experiment}~*")).relative_to(projects.root)


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(name, marks=pytest.mark.slow if name in QUICK else pytest.mark.proof) for name in TEST_IMAGES],
)
def test_an_epoch(projects: Project, experiment: str) -> None:
    metrics = projects.json(f"{built(projects, 'evaluate_all', 'evaluate', experiment)}/metrics.json")
    assert metrics["n"] == TEST_IMAGES[experiment]
    if experiment == "tissue":
        assert "dice/outside_roi" not in metrics and {"dice/tumor", "dice/stroma"} <= metrics.keys()
    if experiment in ("drinks", "dogs"):
        # An epoch of a new head on ImageNet features says more than the most frequent class.
        assert metrics["accuracy"]["low"] > metrics["baseline"]["accuracy"]


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param("drinks", marks=pytest.mark.slow, id="photographs-of-many-sizes"),
        pytest.param("signs-mobilenet", marks=pytest.mark.proof, id="small-pictures"),
    ],
)
def test_the_server_answers_as_it_was_evaluated(projects: Project, experiment: str) -> None:
    gate = projects.json(f"{built(projects, 'gate_all', 'gate', experiment)}/gate.json")
    live = gate["runtimes"]["http"]
    assert (live["decisions"], live["flips"], live["passed"]) == (TEST_IMAGES[experiment], 0, True)


@pytest.mark.slow
def test_breeds_have_codes_and_names(projects: Project) -> None:
    done = projects.snakemake("index_all", "--config", "experiments=dogs")
    assert done.returncode == 0, done.stdout[-4000:]
    dogs = projects.json("results/index/dogs/report.json")
    assert len(dogs["classes"]) == 120 and all(name.startswith("n0") for name in dogs["classes"])
    assert dogs["names"]["n02085620"] == "Chihuahua"
