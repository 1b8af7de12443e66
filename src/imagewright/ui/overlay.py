"""A mask over its picture: the class of each pixel, and how much of the picture each class covers."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imagewright.colours import overlaid

Fit = Literal["stretch", "crop", "pad"]
UNSEEN = -1
"""The index of a pixel that was cut off before the model saw the picture."""
SHADE = 0.35


def placed(mask: NDArray[np.uint8], height: int, width: int, fit: Fit) -> NDArray[np.int16]:
    """Undo how a picture was made to fit the model's input, by nearest neighbour.

    Args:
        mask: class indices, height × width of the model's input.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        fit: how the picture was brought to the input's shape.

    Returns:
        `height` × `width`, int16: class indices, `UNSEEN` where the picture was cropped.
    """
    y, x = _coordinates(mask.shape, height, width, fit)
    rows, columns = (np.clip(position, 0, size - 1) for position, size in zip((y, x), mask.shape, strict=True))
    found = mask[np.ix_(rows, columns)].astype(np.int16)
    found[y != rows] = UNSEEN
    found[:, x != columns] = UNSEEN
    return found


def areas(mask: NDArray[np.uint8], classes: int, height: int, width: int, fit: Fit) -> NDArray[np.float64]:
    """The share of each class, 0 to 1, of what the model saw of a picture; padded borders are no part of it.

    Args:
        mask: class indices, height × width of the model's input.
        classes: how many there are.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        fit: how the picture was brought to the input's shape.
    """
    y, x = _coordinates(mask.shape, height, width, fit)
    inside = mask[max(y[0], 0) : y[-1] + 1, max(x[0], 0) : x[-1] + 1]
    shares: NDArray[np.float64] = np.bincount(inside.ravel(), minlength=classes) / inside.size
    return shares


def blended(image: NDArray[np.uint8], indices: NDArray[np.int16], opacity: float) -> NDArray[np.uint8]:
    """Lay the classes' colours over a picture.

    Args:
        image: height × width × 3, uint8.
        indices: height × width: what `placed` gives.
        opacity: of the colours, 0 to 1.

    Returns:
        height × width × 3, uint8; the first class has no colour, and what the model did not see is darkened.
    """
    mixed = overlaid(image, indices, opacity)
    unseen = indices == UNSEEN
    mixed[unseen] = np.rint(SHADE * mixed[unseen]).astype(np.uint8)
    return mixed


def _coordinates(
    shape: tuple[int, ...], height: int, width: int, fit: Fit
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The row and the column of the mask for each row and column of a picture; outside of it, where it was cropped."""
    scales = (shape[0] / height, shape[1] / width)
    if fit == "crop":
        scales = (max(scales),) * 2
    elif fit == "pad":
        scales = (min(scales),) * 2
    y, x = (
        np.floor((np.arange(size) + 0.5 - size / 2) * scale + target / 2).astype(np.intp)
        for size, scale, target in zip((height, width), scales, shape, strict=True)
    )
    return y, x
