"""The trials of a sweep side by side: a table, a picture, and a check that they differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from imagewright.errors import EvidenceError
from imagewright.files import sha256_json

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def check_distinct(records: Mapping[str, Mapping[str, Any]], trials: Mapping[str, Mapping[str, Any]]) -> None:
    """Stop if two trials ran with the same effective values, so that a sweep compared a model with itself.

    Args:
        records: `trial.json` of each trial.
        trials: the values that the sweep gave each.

    Raises:
        EvidenceError: two did.
    """
    ran: dict[str, str] = {}
    for name, record in records.items():
        values = sha256_json([record[key] for key in ("effective", "model", "pretrained")])
        if values in ran:
            other = ran[values]
            raise EvidenceError(
                f"select: trials {other} {dict(trials[other])} and {name} {dict(trials[name])} ran "
                "with the same values",
                "what the sweep varies never reached the training: compare `effective` in their trial.json",
            )
        ran[values] = name


def trial_table(
    trials: Mapping[str, Mapping[str, Any]], records: Mapping[str, Mapping[str, Any]], monitor: str
) -> pd.DataFrame:
    """A row a trial, the best first: its name, the values it was given, its best epoch and its metric on val."""
    rows = [
        {"trial": name, **values, "epoch": records[name]["best"]["epoch"], monitor: records[name]["best"]["value"]}
        for name, values in trials.items()
    ]
    return pd.DataFrame(rows).sort_values([monitor, "trial"], ascending=[False, True], ignore_index=True)


def draw_trials(table: pd.DataFrame, monitor: str, best: str, path: Path) -> None:
    """Parallel coordinates (Inselberg 1985): an axis for each value that varies and one for the metric, a line a trial.

    Args:
        table: as `trial_table` makes it.
        monitor: the metric, the last axis and the colour.
        best: the trial to draw thick.
        path: the PNG to write.
    """
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
        for value, height in zip(table[key], heights[key], strict=True):
            marks.setdefault(f"{value:.4g}" if isinstance(value, int | float) else str(value), height)
        # All of a few values are named; of many, the ends.
        ends = (min(marks, key=marks.__getitem__), max(marks, key=marks.__getitem__))
        for text, height in marks.items():
            if len(marks) <= 6 or text in ends:
                axes.annotate(text, (place, height), (5, 4), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(keys)), keys)
    axes.set(yticks=[], xlim=(-0.2, len(keys) - 0.55), ylim=(-0.06, 1.1))
    count = f"{len(table)} trials" if len(table) > 1 else "one trial"
    axes.set_title(f"{count}; best: {best}, {monitor} {high:.4f} on val")
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _heights(values: pd.Series, log: bool) -> list[float]:
    """Where each value stands on its axis, 0 to 1: numbers by size, or by magnitude over decades, others by rank."""
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        order = {text: rank for rank, text in enumerate(sorted(set(values.astype(str))))}
        numbers = np.array([order[str(value)] for value in values], dtype=float)
    else:
        numbers = values.to_numpy(dtype=float)
        if log and numbers.min() > 0 and numbers.max() / numbers.min() >= 10:
            numbers = np.log(numbers)
    span = numbers.max() - numbers.min()
    return ((numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)).tolist()  # type: ignore[no-any-return]
