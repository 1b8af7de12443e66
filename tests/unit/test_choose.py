"""`select` measures again what a trial says of itself; a curve that mixes epochs must not choose a model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imagewright.errors import EvidenceError
from imagewright.models.precision import full_precision, undecided
from imagewright.select.choose import check_recorded_metric

RECORD = {"best": {"epoch": 2, "value": 0.9}}


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    (tmp_path / "history.csv").write_text("epoch,val/accuracy\n1,0.5\n2,0.9\n")
    return tmp_path


@pytest.mark.parametrize(("measured", "close"), [(0.9, 0.0), (0.9009, 0.0), (0.904, 0.002)])
def test_the_same_but_for_what_another_device_decides(trial: Path, measured: float, close: float) -> None:
    check_recorded_metric(trial, RECORD, "accuracy", measured, close)


@pytest.mark.parametrize(("measured", "close"), [(0.902, 0.0), (0.8, 0.002), (float("nan"), 0.0)])
def test_another_value_stops_the_run(trial: Path, measured: float, close: float) -> None:
    with pytest.raises(EvidenceError, match="but a fresh pass over val gives"):
        check_recorded_metric(trial, RECORD, "accuracy", measured, close)


def test_open_decisions_are_counted() -> None:
    probabilities = np.array([[0.5, 0.4996, 0.0004], [0.9, 0.05, 0.05], [0.3, 0.3, 0.4]], np.float32)
    assert undecided(probabilities) == 1
    assert undecided(probabilities.reshape(1, 3, 3)) == 1


def test_nothing_is_rounded_while_a_model_is_measured() -> None:
    before = torch.backends.cudnn.allow_tf32
    with full_precision():
        assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is before
