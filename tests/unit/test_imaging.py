"""A picture's bytes become an array: each kind of file against pixels worked out by hand.

What is wrong here is wrong in training and in service alike, so that no comparison of the two would ever show it.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from imagewright.config.tensors import InputConfig
from imagewright.errors import DataError
from imagewright.imaging import encode_png, load_image, load_mask_values, load_pixels, read_header, resize_mask

HEIGHT, WIDTH = 8, 12
ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def form(height: int = HEIGHT, width: int = WIDTH, **values: Any) -> InputConfig:
    return InputConfig.model_validate({"height": height, "width": width, "colour": "gray"} | values)


def noise(*shape: int, most: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, most, shape, dtype=np.uint8)


def displayed(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """What EXIF 2.32 says of tag 0x0112: where row 0 and column 0 of the stored pixels are to be shown."""
    return {
        1: stored,  # top, left
        2: stored[:, ::-1],  # top, right
        3: stored[::-1, ::-1],  # bottom, right
        4: stored[::-1],  # bottom, left
        5: stored.T,  # left, top
        6: stored.T[:, ::-1],  # right, top
        7: stored.T[::-1, ::-1],  # right, bottom
        8: stored.T[::-1],  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_orientation(kind: str, orientation: int) -> None:
    # Phones store pictures lying on their side: trained upright, served lying, a model would be wrong on every photo.
    stored = noise(HEIGHT, WIDTH)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(stored).convert("RGB")
    content = encoded(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = displayed(stored, orientation)
    height, width = expected.shape
    header = read_header(content)
    assert (header.height, header.width, header.format) == (height, width, kind)
    assert np.array_equal(load_image(content, form(height, width, colour="rgb"))[:, :, 0], expected)
    assert np.array_equal(load_pixels(content)[..., 0], expected)
    assert np.array_equal(load_mask_values(content), expected)


def test_grey_of_sixteen_bits_keeps_its_upper_eight() -> None:
    # Pillow's own conversion clips at 255: X-rays and microscopy would come out white.
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    for kind in ("PNG", "TIFF"):
        content = encoded(Image.fromarray(values), kind)
        assert np.array_equal(load_image(content, form())[:, :, 0], values // 256)
        assert np.array_equal(load_pixels(content), values)
        assert np.array_equal(load_mask_values(content), values)


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_grey_of_another_depth_keeps_the_upper_eight_bits_of_those_it_uses(depth: int) -> None:
    # Of 12-bit values, the upper eight of 16 bits would be sixteen grey levels, and all black of 8-bit ones.
    values = np.linspace(0, 2**depth - 1, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    for kind in ("PNG", "TIFF"):
        content = encoded(Image.fromarray(values), kind)
        assert np.array_equal(load_image(content, form(depth=depth))[:, :, 0], values >> (depth - 8))
        assert np.array_equal(load_pixels(content, depth=depth), values)


@pytest.mark.parametrize(
    ("value", "depth", "words"),
    [
        (4096, 12, r"between 0 and 4096, outside of 0 to 4095 \(12 bits\)\n.*or raise data.depth"),
        (-1, 16, r"between -1 and 0, outside of 0 to 65535 \(16 bits\)\n  rescale it to that range$"),
        (70_000, 16, "between 0 and 70000, outside of 0 to 65535"),
    ],
)
def test_grey_beyond_its_depth_is_refused(value: int, depth: int, words: str) -> None:
    values = np.zeros((HEIGHT, WIDTH), np.int32)
    values[0, 0] = value
    content = encoded(Image.fromarray(values), "TIFF")
    for load in (lambda: load_image(content, form(depth=depth)), lambda: load_pixels(content, depth=depth)):
        with pytest.raises(DataError, match=words):
            load()


@pytest.mark.parametrize("colour", ["gray", "rgb"])
def test_eight_bits_pass_unchanged(colour: str) -> None:
    channels = 1 if colour == "gray" else 3
    pixels = noise(HEIGHT, WIDTH, channels)
    array = load_image(encode_png(pixels), form(colour=colour))
    assert array.dtype == np.uint8
    assert np.array_equal(array, pixels)


def test_grey_in_three_channels_and_colour_in_one() -> None:
    grey, rgb = noise(HEIGHT, WIDTH), noise(HEIGHT, WIDTH, 3)
    assert np.array_equal(load_image(encode_png(grey), form(colour="rgb")), np.dstack([grey] * 3))
    # ITU-R 601-2: luma of what is displayed.
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(load_image(encode_png(rgb), form())[:, :, 0] - luma).max() <= 1


def paletted(indices: NDArray[np.uint8], colours: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(indices, "L")
    image.putpalette(colours.ravel().tolist())
    return image


def test_palette() -> None:
    indices, colours = noise(HEIGHT, WIDTH, most=5), noise(5, 3, seed=1)
    content = encoded(paletted(indices, colours))
    assert np.array_equal(load_image(content, form(colour="rgb")), colours[indices])
    assert np.array_equal(load_pixels(content), colours[indices])
    # A mask's palette is for people to look at; its classes are the indices.
    assert np.array_equal(load_mask_values(content), indices)


def test_palette_with_transparency() -> None:
    indices, colours = noise(HEIGHT, WIDTH, most=5), noise(5, 3, seed=1)
    content = encoded(paletted(indices, colours), transparency=2)
    expected = colours[indices]
    expected[indices == 2] = 77
    assert np.array_equal(load_image(content, form(colour="rgb", background=77)), expected)
    assert np.array_equal(load_mask_values(content), indices)


def test_grey_with_a_transparent_value() -> None:
    grey = noise(HEIGHT, WIDTH, most=5)
    content = encoded(Image.fromarray(grey), transparency=2)
    assert np.array_equal(load_image(content, form(background=77))[:, :, 0], np.where(grey == 2, 77, grey))


@pytest.mark.parametrize("background", [0, 200, 255])
def test_alpha_lies_on_the_background(background: int) -> None:
    pixels = noise(HEIGHT, WIDTH, 4)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    share = pixels[..., 3:] / 255
    expected = pixels[..., :3] * share + background * (1 - share)
    array = load_image(encoded(Image.fromarray(pixels)), form(colour="rgb", background=background))
    assert (array[0] == background).all()
    assert np.array_equal(array[1], pixels[1, :, :3])
    assert np.abs(array - expected).max() <= 1


def test_grey_with_alpha() -> None:
    pixels = noise(HEIGHT, WIDTH, 2)
    share = pixels[..., 1] / 255
    expected = pixels[..., 0] * share + 255 * (1 - share)
    array = load_image(encoded(Image.fromarray(pixels, "LA")), form())
    assert np.abs(array[:, :, 0] - expected).max() <= 1


def test_cmyk() -> None:
    inks = noise(HEIGHT, WIDTH, 4)
    expected = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    array = load_image(encoded(Image.fromarray(inks, "CMYK"), "TIFF"), form(colour="rgb"))
    assert np.abs(array - expected).max() <= 1


def test_one_bit() -> None:
    bits = noise(HEIGHT, WIDTH, most=2).astype(bool)
    content = encoded(Image.fromarray(bits))
    assert np.array_equal(load_image(content, form())[:, :, 0], bits * 255)
    assert np.array_equal(load_mask_values(content), bits.astype(int))


def test_webp_that_is_called_jpg(tmp_path: Path) -> None:
    # Half of what people save from the web; whoever trusted the name would lose these images.
    pixels = noise(HEIGHT, WIDTH, 3)
    path = tmp_path / "cat.jpg"
    path.write_bytes(encoded(Image.fromarray(pixels), "WEBP", lossless=True))
    assert read_header(path.read_bytes()).format == "WEBP"
    assert np.array_equal(load_image(path.read_bytes(), form(colour="rgb")), pixels)


def test_a_large_jpeg_looks_as_if_decoded_in_full() -> None:
    # It is decoded at a fraction of its size, which is quick, and must not be seen.
    rows, columns = np.mgrid[:960, :1280]
    light = (127 + 60 * np.sin(rows / 90) + 60 * np.cos(columns / 70)).astype(np.uint8)
    content = encoded(Image.fromarray(light), "JPEG", quality=95)
    whole = np.asarray(Image.fromarray(light).resize((64, 48), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(load_image(content, form(48, 64))[:, :, 0] - whole).max() <= 4


def test_fits() -> None:
    # A wide picture, left half black, right half white, made square.
    wide = np.zeros((16, 64), np.uint8)
    wide[:, 32:] = 255
    content = encode_png(wide)

    def array(fit: str) -> NDArray[np.uint8]:
        return load_image(content, form(32, 32, fit=fit, background=99))[:, :, 0]

    assert (array("stretch")[:, 0] == 0).all() and (array("stretch")[:, -1] == 255).all()
    assert (array("crop")[:, :14] == 0).all() and (array("crop")[:, 18:] == 255).all()
    assert (array("pad")[:12] == 99).all() and (array("pad")[20:] == 99).all()
    assert (array("pad")[12:20, :14] == 0).all() and (array("pad")[12:20, 18:] == 255).all()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1)])
def test_a_thread_of_a_picture_still_fits(fit: str, shape: tuple[int, int]) -> None:
    assert load_image(encode_png(noise(*shape)), form(fit=fit)).shape == (HEIGHT, WIDTH, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"To do: label these.", "no picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "broken|no picture"),
        (encoded(Image.fromarray(noise(64, 64)))[:1500], "cut short or broken"),
        (encoded(Image.fromarray(noise(64, 64)), "JPEG")[:1500], "cut short or broken"),
    ],
    ids=["empty", "text", "header", "png", "jpeg"],
)
def test_what_is_no_picture_is_named(content: bytes, words: str) -> None:
    for load in (lambda: load_image(content, form()), lambda: load_pixels(content), lambda: load_mask_values(content)):
        with pytest.raises(DataError, match=words):
            load()


def test_every_cut_of_a_picture_is_refused_or_read() -> None:
    # Half a download: never anything but our own error.
    for content in (
        encoded(Image.fromarray(noise(16, 16, 3)), kind) for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP")
    ):
        for end in range(0, len(content) - 1, 37):
            for load in (lambda part: load_image(part, form()), read_header):
                try:
                    load(content[:end])
                except DataError:
                    continue


def test_size_is_refused_by_the_header() -> None:
    content = encode_png(noise(20, 30))
    assert load_pixels(content, max_pixels=600).shape == (20, 30)
    for load in (
        lambda: load_image(content, form(), 599),
        lambda: load_pixels(content, 599),
        lambda: read_header(content, 599),
    ):
        with pytest.raises(DataError, match="30x20 pixels are more than the limit of 599"):
            load()


def test_floating_point_is_refused() -> None:
    content = encoded(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")
    with pytest.raises(DataError, match="floating-point"):
        load_image(content, form())
    with pytest.raises(DataError, match="float32 numbers"):
        load_mask_values(content)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_grey_mask_saved_in_colour(mode: str) -> None:
    values = noise(HEIGHT, WIDTH, most=4)
    assert np.array_equal(load_mask_values(encoded(Image.fromarray(values).convert(mode))), values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK"])
def test_a_colour_mask_is_refused(mode: str) -> None:
    # In CMYK with black ink alone, all that is read as classes would be 0, without a word.
    image = Image.fromarray(noise(HEIGHT, WIDTH, 3)).convert(mode)
    if mode == "CMYK":
        inks = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        inks[..., 3] = noise(HEIGHT, WIDTH, most=3)
        image = Image.fromarray(inks, "CMYK")
    with pytest.raises(DataError, match="colour picture"):
        load_mask_values(encoded(image, "TIFF"))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
    indices=st.lists(st.integers(0, 254), min_size=1, max_size=5),
    seed=st.integers(0, 2**16),
)
def test_a_resized_mask_holds_no_new_class(size: tuple[int, int], fit: str, indices: list[int], seed: int) -> None:
    # Between classes 1 and 3 lies no class 2.
    mask = np.random.default_rng(seed).choice(np.array(indices, np.uint8), size)
    resized = resize_mask(mask, form(fit=fit), outside=255)
    assert resized.shape == (HEIGHT, WIDTH) and resized.dtype == np.uint8
    assert set(np.unique(resized)) <= set(np.unique(mask)) | ({255} if fit == "pad" else set())


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_mask_and_picture_are_resized_alike(fit: str) -> None:
    # A mask beside its picture by some pixels would teach the wrong outline.
    shape = np.zeros((50, 90), np.uint8)
    shape[10:35, 20:60] = 1
    picture = load_image(encode_png(shape * 255), form(40, 40, fit=fit, background=0))[:, :, 0]
    mask = resize_mask(shape, form(40, 40, fit=fit), outside=0)
    inside, outside = picture == 255, picture == 0
    assert inside.sum() > 100
    assert (mask[inside] == 1).all() and (mask[outside] == 0).all()
