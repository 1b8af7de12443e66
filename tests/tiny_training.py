"""A training of a second or two, in this process: digits of 8×8 pixels as stored tensors, and what came out."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from imagewright.config.train import TrainSection
from imagewright.files import sha256
from imagewright.tensors.write import split_sha256
from imagewright.train.trial import train_trial

SPLITS = {"train": slice(0, 240), "val": slice(240, 340), "test": slice(340, 440)}


def write_digits(folder: Path) -> Path:
    """Stored tensors of 16×16 grey digits (scikit-learn's, from UCI): 240 to train on, 100 for each of the others."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = load_digits(return_X_y=True)
    splits = {}
    for name, part in SPLITS.items():
        paths = folder / f"{name}.images.npy", folder / f"{name}.targets.npy"
        np.save(paths[0], (images[part] * 15).astype(np.uint8).reshape(-1, 8, 8, 1).repeat(2, 1).repeat(2, 2))
        np.save(paths[1], labels[part].astype(np.int64))
        counts = {str(digit): int((labels[part] == digit).sum()) for digit in range(10)}
        splits[name] = {"images": len(labels[part]), "targets": counts, "sha256": split_sha256(*paths)}
    meta = {
        "task": "classification", "classes": [str(digit) for digit in range(10)], "names": {}, "ignore": [],
        "input": {"height": 16, "width": 16, "colour": "gray", "fit": "stretch", "background": 0},
        "max_pixels": 1000, "mean": [0.3], "std": [0.3], "splits": splits,
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def section(**changes: Mapping[str, Any]) -> TrainSection:
    """A small training; `train={"epochs": 2}` and the like change it."""
    values: dict[str, dict[str, Any]] = {
        "model": {"library": "timm", "name": "resnet10t"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adamw", "lr": 0.004},
        "augment": {},
        "train": {"epochs": 1, "batch_size": 16, "threads": 1},
    }
    return TrainSection.model_validate({group: values[group] | changes.get(group, {}) for group in values})


def train(
    values: TrainSection,
    tensors: Path,
    folder: Path,
    log: Callable[[Mapping[str, float], int], None] = lambda values, step: None,
) -> dict[str, Any]:
    """Train into `folder`; `trial.json` with the hash of the weights, the curve and the loss of each step."""
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    losses: dict[int, float] = {}

    def note(found: Mapping[str, float], step: int) -> None:
        if "train/step_loss" in found:
            losses[step] = found["train/step_loss"]
        log(found, step)

    train_trial(values, tensors, out, folder / "checkpoints", folder / "evidence", note)
    return {
        "weights": sha256(out / "model.safetensors"),
        "history": (out / "history.csv").read_text(),
        "losses": losses,
        **json.loads((out / "trial.json").read_text()),
    }
