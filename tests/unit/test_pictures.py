"""The pictures of a result show as much as was asked for."""

import imagewright.models  # noqa: F401, I001  # First of all: makes torchvision importable, on which timm leans.

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from imagewright.evaluate import pictures


@pytest.mark.parametrize(("count", "lines", "columns"), [(5, 3, 5), (12, 3, 12), (13, 6, 12), (26, 9, 12)])
def test_as_many_overlays_as_were_asked_for(
    count: int, lines: int, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: figures.append(figure))
    images, masks = np.zeros((30, 4, 4, 1), np.uint8), np.zeros((30, 4, 4), np.uint8)
    test: Any = SimpleNamespace(images=images, targets=masks)
    rows = pd.DataFrame({"id": [f"p{position}" for position in range(30)]})
    chosen = list(range(29, 29 - count, -1))
    worst = {position: masks[position] for position in chosen}
    pictures.draw_overlays(test, rows, worst, ["background", "cell"], np.ones((30, 2)), tmp_path / "examples.png")
    axes = figures[0].axes
    assert len(axes) == lines * columns
    assert [one.get_title().split("\n")[0] for one in axes if one.get_title()] == [f"p{number}" for number in chosen]
    # Each has its image, its true mask and its predicted one; what is left of the last block stays empty.
    assert sum(bool(one.images) for one in axes) == 3 * count
    assert not any(one.axison for one in axes)
    assert [one.texts[0].get_text() for one in axes[::columns]] == ["image", "true", "predicted"] * (lines // 3)
    pictures.plt.close(figures[0])
