"""What a training records is what it did: people compare trials by these values."""

import pandas as pd
import pytest
from conftest import Project


def test_values_are_read_back_and_patience_ends_the_training(project: Project) -> None:
    overrides = ["optimizer=sgd", "optimizer.lr=1e-9", "train.batch_size=24", "train.epochs=40", "train.patience=2"]
    done = project.snakemake("train_all", "--config", "experiments=digits8", f"overrides=[{','.join(overrides)}]")
    assert done.returncode == 0, done.stdout[-3000:]
    folder = next((project.root / "results/train").glob("digits8~*")) / "default"
    trial = project.json(str((folder / "trial.json").relative_to(project.root)))
    history = pd.read_csv(folder / "history.csv")

    # Nothing is learnt at such a rate, so no epoch is better than the first.
    assert trial["epochs_run"] == len(history) == 3
    assert trial["best"]["epoch"] == 1
    assert trial["best"]["value"] == pytest.approx(history["val/accuracy"].max())
    assert "train: epoch 3/40" in done.stdout

    effective = trial["effective"]
    groups = effective["optimizer"]["groups"]
    assert effective["optimizer"]["class"] == "SGD"
    assert {group["lr"] for group in groups} == {1e-9}
    assert {group["momentum"] for group in groups} == {0.9}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.0005}
    assert effective["batches"]["batch_size"] == 24
    assert effective["batches"]["steps"] == 210 // 24
    assert trial["steps"] == trial["steps_executed"] == 3 * (210 // 24)
    meta = project.json("results/tensors/digits8-gray16/meta.json")
    assert trial["seen"] == {split: meta["splits"][split]["sha256"] for split in ("train", "val")}
