"""A look at every image: what the index says of it, against what was put into the file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from imagewright.config.layout import ClassFolders, ImageMaskPairs
from imagewright.index.inspect import inspect_samples
from imagewright.index.readers import open_reader


def noise(*shape: int, most: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, most, shape, dtype=np.uint8)


def save(path: Path, image: Any, **options: Any) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path.read_bytes()


def look(raw: Path, max_pixels: int = 10_000, workers: int = 1) -> pd.DataFrame:
    reader = open_reader(ClassFolders(kind="class_folders"), raw)
    return inspect_samples(reader, reader.samples(), None, max_pixels, workers).set_index("path")


def look_at_masks(raw: Path, values: list[list[int]]) -> pd.DataFrame:
    reader = open_reader(ImageMaskPairs(kind="image_mask_pairs"), raw)
    return inspect_samples(reader, reader.samples(), values, 10_000, 1).set_index("id")


def test_size_bytes_and_hash(tmp_path: Path) -> None:
    content = save(tmp_path / "cat/1.png", noise(20, 30, 3))
    row = look(tmp_path).loc["cat/1.png"]
    assert (row["height"], row["width"], row["bytes"]) == (20, 30, len(content))
    assert row["sha256"] == hashlib.sha256(content).hexdigest()
    assert (row["label"], row["problem"]) == ("cat", "")


def test_a_copy_in_another_format_is_the_same_picture(tmp_path: Path) -> None:
    # Copies across splits are found by this, and people do save them anew.
    grey = noise(16, 16)
    opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    save(tmp_path / "cat/grey.png", grey)
    save(tmp_path / "cat/grey.tif", grey)
    save(tmp_path / "cat/grey.bmp", grey)
    save(tmp_path / "cat/three.png", np.dstack([grey] * 3))
    save(tmp_path / "cat/alpha.png", opaque)
    save(tmp_path / "cat/lossless.webp", np.dstack([grey] * 3), lossless=True)
    assert look(tmp_path)["pixels"].nunique() == 1


def test_another_picture_is_another(tmp_path: Path) -> None:
    grey = noise(16, 16)
    one_pixel = grey.copy()
    one_pixel[3, 4] ^= 1
    see_through = np.dstack([grey, grey, grey, np.full_like(grey, 254)])
    for number, array in enumerate([grey, one_pixel, grey.T, grey.reshape(8, 32), see_through, grey.astype(np.uint16)]):
        save(tmp_path / f"cat/{number}.png", array)
    assert look(tmp_path)["pixels"].is_unique


def test_the_size_is_as_displayed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "cat/1.png", Image.fromarray(noise(20, 30)), exif=exif)
    row = look(tmp_path).loc["cat/1.png"]
    assert (row["height"], row["width"]) == (30, 20)


def test_what_cannot_be_read_is_listed_with_the_reason(tmp_path: Path) -> None:
    content = save(tmp_path / "cat/good.png", noise(20, 20))
    (tmp_path / "cat/cut.png").write_bytes(content[:200])
    (tmp_path / "cat/empty.png").write_bytes(b"")
    (tmp_path / "cat/text.jpg").write_text("a note")
    save(tmp_path / "cat/large.png", noise(200, 200))
    problems = look(tmp_path)["problem"]
    assert problems["cat/good.png"] == ""
    assert "cut short" in problems["cat/cut.png"]
    assert problems["cat/empty.png"] == "the file is empty"
    assert "no picture" in problems["cat/text.jpg"]
    assert "200x200 pixels are more than the limit of 10000" in problems["cat/large.png"]


def test_the_largest_value_of_deep_grey(tmp_path: Path) -> None:
    values = np.array([[0, 4095]] * 4, np.uint16)
    save(tmp_path / "cat/deep.png", values)
    save(tmp_path / "cat/deep.tif", Image.fromarray(values.astype(np.int32)))
    save(tmp_path / "cat/flat.png", noise(4, 4))
    assert look(tmp_path)["deepest"].to_dict() == {"cat/deep.png": 4095, "cat/deep.tif": 4095, "cat/flat.png": -1}


def test_what_could_not_be_converted_later_is_listed_now(tmp_path: Path) -> None:
    save(tmp_path / "cat/lab.tif", Image.new("LAB", (4, 4)))
    save(tmp_path / "cat/float.tif", np.ones((4, 4), np.float32))
    save(tmp_path / "cat/negative.tif", np.full((4, 4), -1, np.int32))
    problems = look(tmp_path)["problem"]
    assert problems["cat/lab.tif"] == "LAB colours cannot be converted"
    assert problems["cat/float.tif"] == "the picture holds floating-point numbers"
    assert problems["cat/negative.tif"].startswith("its values lie between -1 and -1")


def test_order_and_content_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    for number in range(70):
        save(tmp_path / f"cat/{number}.png", noise(8, 8, seed=number))
    one, two = look(tmp_path), look(tmp_path, workers=2)
    assert list(one.index) == [f"cat/{number}.png" for number in range(70)]
    pd.testing.assert_frame_equal(one, two)


def test_the_pixels_of_each_class(tmp_path: Path) -> None:
    values = [[0], [7], [300]]
    mask = np.random.default_rng(0).choice(np.array([0, 7, 300], np.uint16), (10, 12))
    save(tmp_path / "images/1.png", noise(10, 12))
    content = save(tmp_path / "masks/1.png", mask)
    row = look_at_masks(tmp_path, values).loc["1"]
    expected = [sum(value == wanted for value in mask.ravel().tolist()) for [wanted] in values]
    assert json.loads(str(row["mask_counts"])) == expected and sum(expected) == 120
    assert row["mask_sha256"] == hashlib.sha256(content).hexdigest()
    assert (row["undeclared"], row["problem"]) == ("", "")


def test_a_class_of_several_values(tmp_path: Path) -> None:
    save(tmp_path / "images/1.png", noise(4, 4))
    save(tmp_path / "masks/1.png", np.array([[0, 3, 10, 11]] * 4, np.uint8))
    row = look_at_masks(tmp_path, [[0], [3, 10, 11], [4]]).loc["1"]
    assert (json.loads(str(row["mask_counts"])), row["undeclared"]) == ([4, 12, 0], "")


def test_undeclared_mask_values_are_named(tmp_path: Path) -> None:
    save(tmp_path / "images/1.png", noise(4, 4))
    save(tmp_path / "masks/1.png", np.array([[0, 1, 2, 255]] * 4, np.uint8))
    row = look_at_masks(tmp_path, [[0], [1]]).loc["1"]
    assert json.loads(str(row["undeclared"])) == [2, 255]


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    save(tmp_path / "images/1.png", noise(4, 6))
    save(tmp_path / "masks/1.png", np.zeros((6, 4), np.uint8))
    problem = look_at_masks(tmp_path, [[0], [1]]).loc["1"]["problem"]
    assert problem == "mask masks/1.png: 4x6 pixels, but its image is 6x4"


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "the file is empty"), (b"a note", "no picture")], ids=["empty", "text"]
)
def test_a_mask_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    save(tmp_path / "images/1.png", noise(4, 6))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/1.png").write_bytes(content)
    problem = look_at_masks(tmp_path, [[0], [1]]).loc["1"]["problem"]
    assert problem.startswith("mask masks/1.png: ") and words in problem
