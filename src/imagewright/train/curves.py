"""A picture of how a training went."""

from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def draw_curves(rows: list[dict[str, Any]], monitor: str, chosen: int, path: Path) -> None:
    """Loss of train and val, and the monitored metric, by epoch; the chosen epoch is marked.

    Args:
        rows: one an epoch, as `History` keeps them.
        monitor: the metric that chose the epoch.
        chosen: that epoch.
        path: the PNG to write.
    """
    history = pd.DataFrame(rows).set_index("epoch")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.plot(history["train/loss"], label="train")
    left.plot(history["val/loss"], label="val")
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.legend()
    values = history[f"val/{monitor}"]
    right.plot(values, color="C1")
    right.plot(chosen, values[chosen], "o", color="C3", label=f"chosen: {values[chosen]:.4f}")
    right.set(xlabel="epoch", ylabel=monitor, title=f"{monitor} on val")
    right.legend()
    # Without the software's name and version in it, the same picture is the same bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
