"""Pictures to ask about: how they are shown, what they look like in numbers, and examples from a folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imagewright.errors import DataError
from imagewright.features import image_features
from imagewright.imaging import FULL_DEPTH, MAX_PIXELS, Input, load_image, read_header

SIDE = 480
"""Of a picture on the page: larger ones are shrunk, smaller ones enlarged, in pixels."""
EXAMPLES = 6
EXAMPLE_BYTES = 16_000_000


@dataclass(frozen=True)
class Picture:
    """A file: its name and its bytes."""

    name: str
    content: bytes

    @property
    def digest(self) -> str:
        """What tells its content from any other."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Look:
    """What a picture looks like.

    Attributes:
        shown: to be put on the page, height × width × 3, uint8; the longer side is `SIDE` pixels or a little less.
        height: of the file, in pixels.
        width: of the file, in pixels.
        features: brightness and so on, as the model sees it.
    """

    shown: NDArray[np.uint8]
    height: int
    width: int
    features: dict[str, float]


@dataclass(frozen=True)
class _Size:
    """A form in which a picture is shown: all of it, in colour."""

    height: int
    width: int
    colour: Literal["gray", "rgb"] = "rgb"
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    background: int = 255
    depth: int = FULL_DEPTH


def look(content: bytes, form: Input, max_pixels: int) -> Look:
    """Decode a picture for the page.

    Args:
        content: the file's bytes.
        form: in which the model sees it.
        max_pixels: refuse larger pictures.

    Raises:
        DataError: it is no picture, broken or too large.
    """
    header = read_header(content, max_pixels)
    shown = thumbnail(content, SIDE, max_pixels, form.depth)
    features = image_features(load_image(content, form, max_pixels))
    return Look(shown, header.height, header.width, features)


def thumbnail(content: bytes, side: int, max_pixels: int = MAX_PIXELS, depth: int = FULL_DEPTH) -> NDArray[np.uint8]:
    """Decode a picture, shrunk or enlarged so that its longer side is `side` pixels or a little less.

    A small one is enlarged by a whole number and by nearest neighbour: its pixels are to be seen.

    Raises:
        DataError: it is no picture, broken or too large.
    """
    header = read_header(content, max_pixels)
    longest = max(header.height, header.width)
    shrink = min(1.0, side / longest)
    height, width = (max(1, round(length * shrink)) for length in (header.height, header.width))
    small = load_image(content, _Size(height, width, depth=depth), max_pixels)
    return small.repeat(max(1, side // longest), axis=0).repeat(max(1, side // longest), axis=1)


def examples(folder: Path) -> list[Picture]:
    """The first few pictures of a folder, by name.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """
    found: list[Picture] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if len(found) == EXAMPLES:
            break
        if not path.is_file() or path.stat().st_size > EXAMPLE_BYTES:
            continue
        content = path.read_bytes()
        try:
            read_header(content)
        except DataError:
            continue
        found.append(Picture(path.name, content))
    if not found:
        raise DataError(f"{folder}: there are no pictures", "set IMAGEWRIGHT_EXAMPLES to a folder of pictures")
    return found
