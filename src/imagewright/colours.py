"""The colour of each class of a mask: the same in every picture, from the augmentation sheet to the web page."""

import numpy as np
from numpy.typing import NDArray

# Okabe and Ito's, which do not need all three kinds of cones.
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
DARKER = 0.6


def colour(index: int) -> tuple[int, int, int]:
    """Of a class but the first, which has none: red, green and blue, 0 to 255; from the eighth on, they get darker."""
    turn, position = divmod(index - 1, len(COLOURS))
    red, green, blue = (round(value * DARKER**turn) for value in COLOURS[position])
    return red, green, blue


def coloured(indices: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The colour of each pixel, height × width × 3, uint8; black where the index is not above 0.

    Args:
        indices: of classes, height × width.
    """
    shown = np.maximum(indices, 0)
    table = np.array([(0, 0, 0), *(colour(index) for index in range(1, int(shown.max()) + 1))], np.uint8)
    found: NDArray[np.uint8] = table[shown]
    return found


def overlaid(image: NDArray[np.uint8], indices: NDArray[np.integer], opacity: float) -> NDArray[np.uint8]:
    """Lay the classes' colours over a picture.

    Args:
        image: height × width × 1 or 3, uint8.
        indices: of classes, height × width; where one is not above 0, the picture stays as it is.
        opacity: of the colours, 0 to 1.

    Returns:
        height × width × 3, uint8.
    """
    weight = np.where(indices > 0, opacity, 0.0)[..., np.newaxis].astype(np.float32)
    mixed: NDArray[np.uint8] = np.rint((1 - weight) * image + weight * coloured(indices)).astype(np.uint8)
    return mixed
