"""The colours of classes: told apart, and the picture below them unharmed."""

import numpy as np
import pytest

from imagewright.colours import colour, coloured, overlaid


def test_colours_are_told_apart() -> None:
    colours = {colour(index) for index in range(1, 22)}
    assert len(colours) == 21 and (0, 0, 0) not in colours
    assert colour(8) == (138, 95, 0), "from the eighth on, they get darker"


def test_the_first_class_has_no_colour() -> None:
    found = coloured(np.array([[0, 1, -1]], np.int16))
    assert (found.dtype, found.tolist()) == (np.uint8, [[[0, 0, 0], list(colour(1)), [0, 0, 0]]])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_shows_through(channels: int) -> None:
    image = np.full((2, 2, channels), 200, np.uint8)
    mixed = overlaid(image, np.array([[0, 1], [-1, 2]]), 0.5)
    assert (mixed.shape, mixed.dtype) == ((2, 2, 3), np.uint8)
    assert mixed[0].tolist() == [[200] * 3, [215, 180, 100]]
    assert mixed[1].tolist() == [[200] * 3, [143, 190, 216]]
    np.testing.assert_array_equal(image, 200)
