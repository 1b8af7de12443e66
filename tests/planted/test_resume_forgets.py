"""A state that is not taken back: the training goes on and says nothing, but it is another training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_training
from tiny_training import section, write_digits

from imagewright.errors import EvidenceError
from imagewright.train.checkpoint import Checkpoint
from imagewright.train.loop import Training

State = dict[str, Any]
STOPPED_AT = 23
"""In the middle of the second epoch; the last checkpoint is of the step before."""

SECTION = section(
    model={"arguments": {"drop_rate": 0.1}},
    augment={"rotate": 5},
    train={"epochs": 3, "ema": 0.6, "checkpoint_steps": 2},
)


class Stopped(Exception):
    """The machine went away."""


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is trained on."""
    return write_digits(tmp_path_factory.mktemp("tensors"))


def train(tensors: Path, folder: Path, stop: int | None = None) -> State:
    """Train; stopped after step `stop` as a machine stops, or to the end."""

    def log(values: Mapping[str, float], step: int) -> None:
        if step == stop:
            raise Stopped

    return tiny_training.train(SECTION, tensors, folder, log)


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


OTHERS = [("network",), ("optimizer",), ("schedule",), ("batches", "loss"), ("loss",)]


@pytest.mark.parametrize(
    "keys",
    [("ema",), ("rng",), ("batches",), *(pytest.param(keys, marks=pytest.mark.proof) for keys in OTHERS)],
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_torn_checkpoint_is_passed_over(
    tensors: Path, stopped: Path, whole: State, capsys: pytest.CaptureFixture[str]
) -> None:
    file = stopped / "checkpoints/last.pt"
    file.write_bytes(file.read_bytes()[:5000])
    assert train(tensors, stopped)["weights"] == whole["weights"]
    assert "cannot be read" in capsys.readouterr().err
