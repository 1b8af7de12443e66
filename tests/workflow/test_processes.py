"""Two processes train what one trains: the same losses where nothing depends on who computes, else the same quality."""

from pathlib import Path

import pytest
from conftest import Project
from wandb_files import read_runs

PLAIN = [
    "model.name=vit_tiny_patch16_224", "++model.arguments.img_size=16", "++model.arguments.patch_size=4",
    "++model.arguments.depth=2",
]  # fmt: skip
FIRST = 12


def train(project: Project, *overrides: str) -> Path:
    """Train digits8 with overrides, by the workflow; the trial's folder."""
    before = set((project.root / "results/train").glob("digits8~*"))
    done = project.snakemake("train_all", "--config", "experiments=digits8", f"overrides=[{','.join(overrides)}]")
    assert done.returncode == 0, done.stdout[-4000:]
    (made,) = set((project.root / "results/train").glob("digits8~*")) - before
    return made / "default"


def losses(project: Project, folder: Path) -> dict[int, float]:
    """The loss of each step, as W&B's files have it."""
    name = f"{folder.parent.name}/default"
    run = next(run for run in read_runs(project.root / "runs/wandb") if run.name == name)
    return {row["_step"]: row["train/step_loss"] for row in run.history if "train/step_loss" in row}


def test_the_same_losses_as_one_process(project: Project) -> None:
    # No batch norm, no dropout, no augmentation: a step is a sum over its images, whoever adds them up.
    shared = [*PLAIN, "train.epochs=1", "train.threads=1", "tracking=offline"]
    one, two = train(project, *shared), train(project, *shared, "train.processes=2")
    alone, together = losses(project, one), losses(project, two)
    assert list(alone)[:FIRST] == list(together)[:FIRST] == list(range(1, FIRST + 1))
    for step in range(1, FIRST + 1):
        assert together[step] == pytest.approx(alone[step], rel=1e-4), f"step {step}"
    assert abs(alone[FIRST] - alone[1]) > 0.05, "nothing was learnt, so that nothing was compared"
    record = project.json(str((two / "trial.json").relative_to(project.root)))
    assert record["environment"]["processes"] == record["effective"]["batches"]["processes"] == 2


@pytest.mark.proof
def test_the_same_quality_with_batch_norm(built: Project, project: Project) -> None:
    # Each process normalises by its own half of a batch, so the weights differ; what they are worth does not.
    overrides = "overrides=[train.processes=2,train.threads=1]"
    done = project.snakemake("evaluate_all", "--config", "experiments=digits8", overrides)
    assert done.returncode == 0, done.stdout[-4000:]
    folder = next((project.root / "results/evaluate").glob("digits8~*"))
    two = project.json(str((folder / "metrics.json").relative_to(project.root)))["accuracy"]
    one = built.json("results/evaluate/digits8/metrics.json")["accuracy"]
    assert one["low"] <= two["value"] <= one["high"], (one, two)
