"""A picture of the trials of a sweep, side by side."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ABOVE_NULL = 0.2
"""Where the other values begin on an axis that has a null."""


def trial_table(selection: Mapping[str, Any]) -> pd.DataFrame:
    """A row a trial, the best first: its name, the values it was given, its best epoch and its metric on val."""
    monitor = selection["monitor"]
    rows = [
        {"trial": trial["trial"], **trial["values"], "epoch": trial["epoch"], monitor: trial["value"]}
        for trial in selection["trials"]
    ]
    return pd.DataFrame(rows).sort_values([monitor, "trial"], ascending=[False, True], ignore_index=True)


def draw_trials(selection: Mapping[str, Any]) -> bytes:
    """Parallel coordinates (Inselberg 1985): an axis for each value that varies and one for the metric, a line a trial.

    Args:
        selection: `selection.json` of a sweep. Its trial is drawn thick; its metric is the last axis and the colour.

    Returns:
        A PNG.
    """
    table, monitor, best = trial_table(selection), selection["monitor"], selection["trial"]
    keys = [*(name for name in table.columns if name not in ("trial", "epoch", monitor)), monitor]
    heights = {key: _heights(table[key], log=key != monitor) for key in keys}
    figure, axes = plt.subplots(figsize=(2.2 * len(keys) + 2.4, 4.2), layout="constrained")
    low, high = table[monitor].min(), table[monitor].max()
    colours = plt.get_cmap("viridis")((table[monitor] - low) / ((high - low) or 1))
    for position in reversed(range(len(table))):
        chosen = table["trial"][position] == best
        line = [heights[key][position] for key in keys]
        axes.plot(line, "-o", color=colours[position], lw=3.5 if chosen else 1.5, alpha=1 if chosen else 0.7, ms=4)
    for place, key in enumerate(keys):
        axes.axvline(place, color="0.6", lw=0.8, zorder=0)
        marks: dict[str, float] = {}
        for value, missing, height in zip(table[key], table[key].isna(), heights[key], strict=True):
            text = f"{value:.4g}" if isinstance(value, int | float) else str(value)
            marks.setdefault("null" if missing else text, height)
        # All of a few values are named; of many, the ends.
        ends = (min(marks, key=marks.__getitem__), max(marks, key=marks.__getitem__))
        for text, height in marks.items():
            if len(marks) <= 6 or text in ends:
                axes.annotate(text, (place, height), (5, 4), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(keys)), keys)
    axes.set(yticks=[], xlim=(-0.2, len(keys) - 0.55), ylim=(-0.06, 1.1))
    axes.set_title(f"{len(table)} trials; best: {best}, {monitor} {high:.4f} on val")
    axes.spines[:].set_visible(False)
    png = BytesIO()
    # Without the software's name and version in it, the same picture is the same bytes.
    figure.savefig(png, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return png.getvalue()


def _heights(values: pd.Series, log: bool) -> list[float]:
    """Where each value stands on its axis, 0 to 1: numbers by size, or by magnitude over decades, others by rank.

    Null, as a sweep may give it, stands below all others.
    """
    missing = values.isna().to_numpy()
    if missing.any() and not missing.all():
        heights = np.zeros(len(values))
        heights[~missing] = ABOVE_NULL + (1 - ABOVE_NULL) * np.array(_heights(values[~missing], log))
        return heights.tolist()  # type: ignore[no-any-return]
    if missing.all() or not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        order = {text: rank for rank, text in enumerate(sorted(set(values.astype(str))))}
        numbers = np.array([order[str(value)] for value in values], dtype=float)
    else:
        numbers = values.to_numpy(dtype=float)
        if log and numbers.min() > 0 and numbers.max() / numbers.min() >= 10:
            numbers = np.log(numbers)
    span = numbers.max() - numbers.min()
    return ((numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)).tolist()  # type: ignore[no-any-return]
