"""A state that is not taken back: the training goes on and says nothing, but it is another training."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from imagewright.config.train import TrainSection
from imagewright.errors import EvidenceError
from imagewright.files import sha256
from imagewright.tensors.write import split_sha256
from imagewright.train.checkpoint import Checkpoint
from imagewright.train.loop import Training
from imagewright.train.trial import train_trial

STOPPED_AT = 23
"""In the middle of the second epoch; the last checkpoint is of the step before."""

SECTION = TrainSection.model_validate(
    {
        "model": {"library": "timm", "name": "resnet10t", "arguments": {"drop_rate": 0.1}},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adamw", "lr": 0.004},
        "augment": {"rotate": 5},
        "train": {"epochs": 3, "batch_size": 16, "ema": 0.6, "checkpoint_steps": 2, "threads": 1},
    }
)


State = dict[str, Any]


class Stopped(Exception):
    """The machine went away."""


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of 8×8 pixels as stored tensors: 240 to train on, 100 for each of the others."""
    folder = tmp_path_factory.mktemp("tensors")
    images, labels = load_digits(return_X_y=True)
    splits = {}
    for name, part in {"train": slice(0, 240), "val": slice(240, 340), "test": slice(340, 440)}.items():
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


def train(tensors: Path, folder: Path, stop: int | None = None) -> State:
    """Train; stopped after step `stop` as a machine stops, or to the end."""

    def log(values: Mapping[str, float], step: int) -> None:
        if step == stop:
            raise Stopped

    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    train_trial(SECTION, tensors, out, folder / "checkpoints", folder / "evidence", log)
    return {
        "weights": sha256(out / "model.safetensors"),
        "history": (out / "history.csv").read_text(),
        **json.loads((out / "trial.json").read_text()),
    }


@pytest.fixture(scope="module")
def whole(tensors: Path, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The training that nothing interrupts."""
    return train(tensors, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def stopped(tensors: Path, tmp_path: Path) -> Path:
    """The folder of a training that was stopped."""
    with pytest.raises(Stopped):
        train(tensors, tmp_path, STOPPED_AT)
    return tmp_path


def test_everything_is_taken_back(tensors: Path, stopped: Path, whole: State) -> None:
    resumed = train(tensors, stopped)
    assert resumed["weights"] == whole["weights"]
    assert resumed["history"] == whole["history"]
    assert resumed["resumed_from"] == [STOPPED_AT - 1]
    assert resumed["steps_executed"] == whole["steps"] - (STOPPED_AT - 1)
    # Else the weights that are kept would be older than the interruption, whatever was forgotten.
    assert whole["best"]["epoch"] == 3
    assert whole["steps"] == whole["steps_executed"] == 45 and whole["resumed_from"] == []


def forgotten(*keys: str) -> Callable[[State, State], None]:
    """Leave parts of a state as they are when a training starts."""

    def forget(state: State, fresh: State) -> None:
        for key in keys:
            own = key in ("rng", "loss")
            (state["ranks"][0] if own else state)[key] = (fresh["ranks"][0] if own else fresh)[key]

    return forget


@pytest.mark.parametrize(
    "keys",
    [("network",), ("optimizer",), ("schedule",), ("ema",), ("rng",), ("batches", "loss"), ("batches",), ("loss",)],
    ids="-".join,
)
def test_what_is_forgotten_shows(
    tensors: Path, stopped: Path, whole: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    # What a training has when it starts is what it would go on with, had it not taken this state back.
    fresh: list[State] = []

    def keep(self: Checkpoint, state: State) -> None:
        fresh.append(state)
        raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(Checkpoint, "save", keep)
        patched.setattr(Training, "run", lambda self, after_step: self._save())
        train(tensors, tmp_path / "fresh")

    load = Checkpoint.load

    def forgetful(self: Checkpoint) -> State | None:
        state = load(self)
        assert state is not None
        forgotten(*keys)(state, fresh[0])
        return state

    monkeypatch.setattr(Checkpoint, "load", forgetful)
    if keys in (("batches",), ("loss",)):
        # The epoch's loss then holds another number of images than the epoch: this stops the training by itself.
        with pytest.raises(EvidenceError, match="the train loss holds"):
            train(tensors, stopped)
    else:
        assert train(tensors, stopped)["weights"] != whole["weights"]


def test_a_checkpoint_of_another_training_is_passed_over(
    tensors: Path,
    stopped: Path,
    whole: State,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = SECTION.model_copy(update={"train": SECTION.train.model_copy(update={"seed": 1})})
    monkeypatch.setitem(globals(), "SECTION", other)
    assert train(tensors, stopped)["resumed_from"] == []
    assert "belongs to other code, config or data; starting afresh" in capsys.readouterr().err


def test_a_torn_checkpoint_is_passed_over(
    tensors: Path, stopped: Path, whole: State, capsys: pytest.CaptureFixture[str]
) -> None:
    file = stopped / "checkpoints/last.pt"
    file.write_bytes(file.read_bytes()[:5000])
    assert train(tensors, stopped)["weights"] == whole["weights"]
    assert "cannot be read" in capsys.readouterr().err
