"""Trials side by side: a person chooses by this table and believes that its rows differ."""

from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image

from imagewright.errors import EvidenceError
from imagewright.report.trials import _heights as heights
from imagewright.report.trials import draw_trials, trial_table
from imagewright.select.trials import check_distinct

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


def selection(values: dict[str, float]) -> dict[str, Any]:
    """`selection.json` of a sweep, as far as it is shown."""
    trials = [{"trial": name, "values": TRIALS[name], "epoch": 3, "value": value} for name, value in values.items()]
    return {"monitor": "accuracy", "trial": max(values, key=lambda name: values[name]), "trials": trials}


def test_the_best_stands_first_with_what_it_was_given() -> None:
    table = trial_table(selection({"aa": 0.5, "bb": 0.9, "cc": 0.9}))
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


def test_null_stands_below_all_others() -> None:
    assert heights(pd.Series([0.9, None, 0.99]), log=True) == pytest.approx([0.2, 0, 1])
    assert heights(pd.Series(["b", None, "a"]), log=True) == pytest.approx([1, 0, 0.2])
    assert heights(pd.Series([None, 4, None]), log=True) == pytest.approx([0, 0.6, 0])
    assert heights(pd.Series([None, None]), log=True) == [0.5, 0.5]
    assert heights(pd.Series([float("nan")]), log=True) == [0.5]


@pytest.mark.parametrize("ema", [[None, 0.9, 0.99], [None, "slow", "quick"], [None, None, 0.9]])
def test_a_null_is_drawn_and_named(ema: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    lines: list[list[float]] = []
    annotate, plot = Axes.annotate, Axes.plot
    monkeypatch.setattr(
        Axes, "annotate", lambda self, text, *a, **k: written.append(text) or annotate(self, text, *a, **k)
    )
    monkeypatch.setattr(Axes, "plot", lambda self, line, *a, **k: lines.append(line) or plot(self, line, *a, **k))
    swept = selection({"aa": 0.5, "bb": 0.6, "cc": 0.7})
    swept["trials"] = [
        trial | {"values": {"train.ema": value}} for trial, value in zip(swept["trials"], ema, strict=True)
    ]
    draw_trials(swept)
    assert "null" in written and not {"nan", "None"} & set(written)
    assert len(lines) == 3 and np.isfinite(lines).all()


def test_the_picture_is_drawn_and_the_same_each_time() -> None:
    swept = selection({"aa": 0.5, "bb": 0.6, "cc": 0.7})
    assert draw_trials(swept) == draw_trials(swept)
    assert draw_trials(swept) != draw_trials(swept | {"trial": "bb"}), "the chosen one is drawn as all others"
    pixels = np.asarray(Image.open(BytesIO(draw_trials(swept))).convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 10
