"""Pictures of a result, for people who would rather look than read."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imagewright.colours import colour, overlaid
from imagewright.imaging import IGNORED
from imagewright.tensors.dataset import TensorSplit

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

COLUMNS = 6
LABEL = 16
OPACITY = 0.55


def draw_confusion(confusion: NDArray[np.float64], classes: Sequence[str], path: Path) -> None:
    """The confusion matrix as shares of the true class; counts are written into up to twelve classes."""
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.zeros_like(confusion), where=totals > 0)
    side = min(4 + 0.32 * len(classes), 14)
    figure, axes = plt.subplots(figsize=(side, side * 0.9), layout="constrained")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    size = 9 if len(classes) <= 20 else 5
    axes.set_xticks(range(len(classes)), list(classes), rotation=90, fontsize=size)
    axes.set_yticks(range(len(classes)), list(classes), fontsize=size)
    axes.set(xlabel="predicted", ylabel="true")
    if len(classes) <= 12:
        for (true, predicted), count in np.ndenumerate(confusion):
            colour = "white" if shares[true, predicted] > 0.5 else "black"
            axes.text(predicted, true, f"{count:,.0f}", ha="center", va="center", color=colour, fontsize=7)
    _save(figure, path)


def draw_calibration(calibration: NDArray[np.float64], path: Path) -> None:
    """Accuracy against confidence, bin by bin, above how many decisions each bin holds."""
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(4.6, 5), sharex=True, height_ratios=[3, 1], layout="constrained"
    )
    filled = calibration[calibration[:, 0] > 0]
    confidence, accuracy = filled[:, 1] / filled[:, 0], filled[:, 2] / filled[:, 0]
    top.plot([0, 1], [0, 1], "--", color="grey", label="perfect")
    top.plot(confidence, accuracy, color="C0", alpha=0.4)
    # A bin of a few decisions says little, so it is drawn small.
    top.scatter(confidence, accuracy, s=8 + 10 * np.log10(filled[:, 0]) ** 2, color="C0", label="this model")
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02), title="Calibration on test")
    top.legend(loc="upper left")
    edges = np.linspace(0, 1, len(calibration) + 1)
    bottom.bar(edges[:-1], calibration[:, 0], width=edges[1], align="edge", color="C0", edgecolor="white")
    bottom.set(xlabel="confidence", ylabel="decisions", yscale="symlog")
    _save(figure, path)


def draw_mistakes(
    test: TensorSplit,
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    count: int,
    path: Path,
) -> None:
    """The wrong decisions with the highest confidence."""
    decided = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(decided != np.asarray(test.targets))
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    figure, grid = _grid(len(chosen))
    for axes, position in zip(grid, chosen, strict=False):
        _show(axes, test.images[position])
        true, predicted = (_short(classes[at[position]]) for at in (test.targets, decided))
        axes.set_title(f"{true}\n→ {predicted} ({confidence[position]:.0%})", fontsize=7)
    figure.suptitle(f"{len(wrong)} of {len(test)} wrong; the most confident first: true → predicted")
    _save(figure, path)


def draw_overlays(
    test: TensorSplit,
    rows: pd.DataFrame,
    masks: dict[int, NDArray[np.uint8]],
    classes: Sequence[str],
    dice: NDArray[np.float64],
    path: Path,
) -> None:
    """Images with the most wrong pixels: the image, the true mask and the predicted one, twelve side by side."""
    width = min(len(masks), COLUMNS * 2)
    blocks = -(-len(masks) // width)
    figure, grid = plt.subplots(
        3 * blocks, width, figsize=(1.6 * width, 5.4 * blocks), squeeze=False, layout="constrained"
    )
    for number, position in enumerate(masks):
        block, column = divmod(number, width)
        image, truth = test.images[position], np.asarray(test.targets[position])
        for line, mask in enumerate((None, truth, masks[position])):
            shown = image if mask is None else overlaid(image, np.where(mask == IGNORED, 0, mask), OPACITY)
            _show(grid[3 * block + line, column], shown)
        mean = np.nanmean(dice[position][1:]) if np.isfinite(dice[position][1:]).any() else np.nan
        grid[3 * block, column].set_title(f"{_short(rows['id'][position])}\nDice {mean:.2f}", fontsize=7)
    for axes in grid.flat[3 * (blocks - 1) * width :]:
        axes.axis("off")
    for axes, name in zip(grid[:, 0], ("image", "true", "predicted") * blocks, strict=True):
        axes.text(-0.08, 0.5, name, transform=axes.transAxes, rotation=90, va="center", ha="right")
    handles = [Rectangle((0, 0), 1, 1, color=[part / 255 for part in colour(i)]) for i in range(1, len(classes))]
    figure.legend(handles, list(classes[1:]), loc="outside lower center", ncols=min(len(classes), 8), fontsize=8)
    figure.suptitle("The images with the most wrong pixels")
    _save(figure, path)


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    lines = max(1, -(-count // COLUMNS))
    figure, axes = plt.subplots(lines, COLUMNS, figsize=(9, 1.75 * lines + 0.5), squeeze=False, layout="constrained")
    for one in axes.flat:
        one.axis("off")
    return figure, list(axes.flat)


def _show(axes: Axes, image: NDArray[np.uint8]) -> None:
    axes.axis("off")
    axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)


def _save(figure: Figure, path: Path) -> None:
    # Without the software's name and version in it, the same picture is the same bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _short(name: str) -> str:
    """A name that fits above a small picture: its beginning and its end, where names differ."""
    return name if len(name) <= LABEL else f"{name[: LABEL // 2]}…{name[-LABEL // 2 + 1 :]}"
