"""A picture of what augmentation does: the first thing to look at when a model does not learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from imagewright.colours import overlaid
from imagewright.tensors.dataset import IGNORE_INDEX, Batch, TensorSplit

COLUMNS = 8
ROWS = 4
SMALLEST = 96
"""Side of a cell in pixels, at least: small pictures are enlarged."""
GAP = 4
OPACITY = 0.4


def draw_augmented(
    split: TensorSplit, augmentation: Callable[[Tensor, Tensor], Batch], path: Path, seed: int = 0
) -> None:
    """Write a PNG: a row of originals, then rows of what augmentation makes of them.

    Masks lie over their pictures in colour, black where a pixel does not count. The same settings give the same bytes,
    and PyTorch's global generator is left as it was.

    Args:
        split: the stored tensors; images from all over it are shown.
        augmentation: of the training.
        path: the file to write.
        seed: of the augmentation.
    """
    positions = np.unique(np.linspace(0, len(split) - 1, COLUMNS).astype(int)).tolist()
    images, targets = split[positions]
    rows = [_cells(images, targets)]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        rows += [_cells(*augmentation(images, targets)) for _ in range(ROWS)]
    height, width = rows[0][0].shape[:2]
    sheet = np.full(((height + GAP) * len(rows) + GAP, (width + GAP) * len(positions) + GAP, 3), 255, np.uint8)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    scale = max(1, -(-SMALLEST // min(height, width)))
    Image.fromarray(sheet.repeat(scale, axis=0).repeat(scale, axis=1)).save(path, "PNG")


def _cells(images: Tensor, targets: Tensor) -> list[NDArray[np.uint8]]:
    """Height × width × 3 each."""
    pictures = images.expand(-1, -1, -1, 3).numpy() if images.shape[-1] == 1 else images.numpy()
    if targets.ndim < 3:
        return list(pictures)
    return [_overlaid(picture, mask) for picture, mask in zip(pictures, targets.numpy(), strict=True)]


def _overlaid(picture: NDArray[np.uint8], mask: NDArray[np.int64]) -> NDArray[np.uint8]:
    ignored = mask == IGNORE_INDEX
    overlay = overlaid(picture, np.where(ignored, 0, mask), OPACITY)
    overlay[ignored] = np.rint((1 - OPACITY) * picture[ignored]).astype(np.uint8)
    return overlay
