"""A picture's bytes become an array: decoded, oriented, converted and resized, in one place for all who need it.

Pillow and NumPy only. `tensors`, the gate and the server call these same functions, so that a model sees in service
what it saw in training. What follows (scaling, normalising, layout) is part of the exported graph.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from imagewright.errors import DataError, NoPictureError, TooLargeError, first_line

# Our own limit is checked first, from the header alone; Pillow's would only warn.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False

MAX_PIXELS = 100_000_000
FULL_DEPTH = 16
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes for grey of more than 8 bits; "I" where its decoder widens it."""
Image.init()
# What photographs, scans and masks come in. Some of the others start a program (EPS: Ghostscript).
FORMATS = tuple(
    name
    for name in ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
    if name in Image.OPEN
)
IGNORED = 255
"""The class index, in a stored mask, of a pixel that counts in no loss and no metric."""
Array = NDArray[np.uint8]


class Input(Protocol):
    """The form a picture is brought into; `imagewright.config.tensors.InputConfig` is one."""

    @property
    def height(self) -> int:
        """In pixels."""
        ...

    @property
    def width(self) -> int:
        """In pixels."""
        ...

    @property
    def colour(self) -> Literal["gray", "rgb"]:
        """One channel, or three."""
        ...

    @property
    def fit(self) -> Literal["stretch", "crop", "pad"]:
        """How another shape is made to fit."""
        ...

    @property
    def background(self) -> int:
        """Grey value, 0 to 255, behind transparent pixels and in padded borders."""
        ...

    @property
    def depth(self) -> int:
        """Bits, 8 to 16, that the values use of grey pictures with more than 8 bits."""
        ...


@dataclass(frozen=True)
class Header:
    """What the first bytes of a picture say: its real format, whatever the file is called, and its size in pixels."""

    format: str
    width: int
    height: int


def read_header(content: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Sniff the format and the size (as displayed, so after EXIF orientation).

    Nothing is decoded, but a PNG of an allowed size: its orientation may stand at its end.

    Raises:
        DataError: not a picture, broken, or larger than `max_pixels`.
    """
    with _opened(content, max_pixels) as image:
        width, height = image.size
        try:
            orientation = image.getexif().get(0x0112, 1)
        except Exception as error:  # a decoder may raise anything on broken content
            raise _broken(error) from None
        # Orientations 5 to 8 lie on their side (EXIF 2.32, tag 0x0112); of a TIFF, Pillow has turned the size already.
        if orientation in (5, 6, 7, 8) and image.format != "TIFF":
            width, height = height, width
        return Header(str(image.format), width, height)


def load_image(content: bytes, spec: Input, max_pixels: int = MAX_PIXELS) -> Array:
    """Decode, orient, convert and resize a picture.

    Args:
        content: the file's bytes, in any format that Pillow reads.
        spec: size, colour, fit, background and depth.
        max_pixels: refuse larger pictures before decoding them.

    Returns:
        height × width × channels, uint8.

    Raises:
        DataError: not a picture, broken, larger than `max_pixels`, or with colours or values that cannot be converted.
    """
    with _opened(content, max_pixels) as opened:
        # JPEG can be decoded at a half, a quarter or an eighth: twice the target keeps enough to resize from.
        opened.draft(None, (2 * spec.width, 2 * spec.height))
        image = _decoded(opened)
    image = _converted(image, "L" if spec.colour == "gray" else "RGB", spec.background, spec.depth)
    image = _fitted(image, spec, Image.Resampling.BILINEAR, spec.background)
    array = np.asarray(image)
    return array[:, :, np.newaxis] if array.ndim == 2 else array


def load_pixels(content: bytes, max_pixels: int = MAX_PIXELS, depth: int = FULL_DEPTH) -> NDArray[np.generic]:
    """Decode a picture completely and return its pixels as displayed, at full size and depth.

    Returns:
        height × width (× channels), in the file's own depth; palettes are resolved to RGB or RGBA.

    Raises:
        DataError: whatever `load_image` would refuse.
    """
    with _opened(content, max_pixels) as opened:
        image = _decoded(opened)
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
        if image.mode in DEEP:
            _in_eight_bits(image, depth)
        else:
            # One pixel shows whether colours can be converted.
            for mode in ("L", "RGB"):
                _converted(image.crop((0, 0, 1, 1)), mode, 0, depth)
        return np.asarray(image)


def load_mask_values(content: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.int64]:
    """Decode a mask to the values that stand in the file: palette indices, not their colours.

    Returns:
        height × width, int64.

    Raises:
        DataError: not a picture, broken, too large, or a colour picture.
    """
    with _opened(content, max_pixels) as opened:
        image = _decoded(opened)
    values = np.asarray(image)
    if values.dtype == bool:
        return values.astype(np.int64)
    if values.ndim == 3:
        # Grey masks saved in colour, with or without an opaque alpha channel.
        colours = values[..., :3] if values.shape[-1] in (3, 4) else values[..., :1]
        # In CMYK the values would stand in the fourth channel.
        if image.mode not in ("RGB", "RGBA", "LA", "PA") or (colours != colours[..., :1]).any():
            raise DataError("the mask is a colour picture", "save class values as grey or palette indices")
        values = colours[..., 0]
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"the mask holds {values.dtype} numbers", "save class values as whole numbers")
    return values.astype(np.int64)


def resize_mask(indices: Array, spec: Input, outside: int) -> Array:
    """Resize a mask of class indices to the form of its picture, by nearest neighbour.

    Args:
        indices: height × width, uint8.
        spec: the same as for the picture.
        outside: the index for padded borders.

    Returns:
        `spec.height` × `spec.width`, uint8; no index that was not there before, but `outside`.
    """
    return np.asarray(_fitted(Image.fromarray(indices), spec, Image.Resampling.NEAREST, outside))


def encode_png(array: Array) -> bytes:
    """Lossless PNG of height × width (× 1 or 3), uint8."""
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array).save(buffer, "PNG")
    return buffer.getvalue()


def _opened(content: bytes, max_pixels: int) -> Image.Image:
    if not content:
        raise DataError("the file is empty", "replace it or remove it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise NoPictureError("the content is no picture, whatever the name says", "replace it or remove it") from None
    except Exception as error:  # a decoder may raise anything on a hostile header
        raise DataError(f"the header is broken ({first_line(error)})", "replace it or remove it") from None
    width, height = image.size
    if width * height > max_pixels:
        raise TooLargeError(
            f"{width}x{height} pixels are more than the limit of {max_pixels}", "shrink it, or raise data.max_pixels"
        )
    return image


def _decoded(image: Image.Image) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ImageOps.exif_transpose(image)
    except Exception as error:  # a decoder may raise anything on broken content
        raise _broken(error) from None


def _broken(error: Exception) -> DataError:
    return DataError(f"the content is cut short or broken ({first_line(error)})", "replace it")


def _converted(image: Image.Image, mode: str, background: int, depth: int) -> Image.Image:
    if image.mode in DEEP:
        image = _in_eight_bits(image, depth)
    elif image.mode == "F":
        raise DataError("the picture holds floating-point numbers", "save it with 8 or 16 bits a channel")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        behind = Image.new("RGBA", image.size, (background,) * 3 + (255,))
        image = Image.alpha_composite(behind, image)
    try:
        return image if image.mode == mode else image.convert(mode)
    except ValueError as error:
        raise DataError(f"{image.mode} colours cannot be converted", "save it as RGB or grey") from error


def _in_eight_bits(image: Image.Image, depth: int) -> Image.Image:
    """The upper 8 of the bits that are used; Pillow itself would clip at 255."""
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 2**depth:
        raise DataError(
            f"its values lie between {low} and {high}, outside of 0 to {2**depth - 1} ({depth} bits)",
            f"rescale it to that range{', or raise data.depth' if depth < FULL_DEPTH else ''}",
        )
    return Image.fromarray((values >> (depth - 8)).astype(np.uint8))


def _fitted(image: Image.Image, spec: Input, resampling: Image.Resampling, border: int) -> Image.Image:
    size = (spec.width, spec.height)
    if image.size == size:
        return image
    if spec.fit == "crop":
        return ImageOps.fit(image, size, resampling)
    if spec.fit == "pad":
        colour = border if len(image.getbands()) == 1 else (border,) * len(image.getbands())
        return ImageOps.pad(image, size, resampling, color=colour)
    return image.resize(size, resampling)
