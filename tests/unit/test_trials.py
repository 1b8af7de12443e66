"""Trials side by side: a person chooses by this table and believes that its rows differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imagewright.errors import EvidenceError
from imagewright.select.trials import _heights as heights
from imagewright.select.trials import check_distinct, draw_trials, trial_table

TRIALS = {
    "aa": {"optimizer.lr": 0.001, "model": "resnet10t"},
    "bb": {"optimizer.lr": 0.1, "model": "resnet18"},
    "cc": {"optimizer.lr": 0.01, "model": "resnet10t"},
}


def record(value: float, lr: float) -> dict[str, Any]:
    return {
        "best": {"epoch": 3, "value": value},
        "effective": {"optimizer": {"groups": [{"lr": lr}]}},
        "model": {"name": "resnet10t"},
        "pretrained": {"source": "none"},
    }


def test_the_best_stands_first_with_what_it_was_given() -> None:
    records = {"aa": record(0.5, 1), "bb": record(0.9, 2), "cc": record(0.9, 3)}
    table = trial_table(TRIALS, records, "accuracy")
    assert table["trial"].tolist() == ["bb", "cc", "aa"]
    assert table.columns.tolist() == ["trial", "optimizer.lr", "model", "epoch", "accuracy"]
    assert table["optimizer.lr"].tolist() == [0.1, 0.01, 0.001]


def test_two_trials_that_ran_alike_stop_the_run() -> None:
    check_distinct({"aa": record(0.5, 1), "bb": record(0.5, 2)}, TRIALS)
    with pytest.raises(EvidenceError, match=r"trials aa .*0\.001.* and cc .*0\.01.* ran with the same values"):
        check_distinct({"aa": record(0.5, 1), "bb": record(0.6, 2), "cc": record(0.7, 1)}, TRIALS)


def test_axes_tell_numbers_magnitudes_and_words_apart() -> None:
    assert heights(pd.Series([1, 2, 3]), log=True) == pytest.approx([0, 0.5, 1])
    assert heights(pd.Series([1e-4, 1e-2, 1e-3]), log=True) == pytest.approx([0, 1, 0.5])
    assert heights(pd.Series([1e-4, 1e-2]), log=False) == pytest.approx([0, 1])
    assert heights(pd.Series(["b", "a", "c"]), log=True) == pytest.approx([0.5, 0, 1])
    assert heights(pd.Series([True, False]), log=True) == pytest.approx([1, 0])
    assert heights(pd.Series([7, 7]), log=True) == [0.5, 0.5]


@pytest.mark.parametrize("count", [1, 3])
def test_the_picture_is_drawn_and_the_same_each_time(tmp_path: Path, count: int) -> None:
    some = dict(list(TRIALS.items())[:count])
    table = trial_table(some, {name: record(0.5 + i / 10, i) for i, name in enumerate(some)}, "accuracy")
    for name in ("a.png", "b.png"):
        draw_trials(table, "accuracy", table["trial"][0], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(np.unique(np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3), axis=0)) > 10
