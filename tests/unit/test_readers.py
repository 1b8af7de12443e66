"""Layouts of raw data: which images a team gets, with which labels, masks and splits, and in which order."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagewright.config.layout import ClassFolders, ImageMaskPairs
from imagewright.errors import DataError
from imagewright.index.readers import Reader, Sample, open_reader
from imagewright.index.readers.base import files_below, natural


def fill(raw: Path, *paths: str) -> Path:
    for path in paths:
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).write_text(path)
    return raw


def class_folders(raw: Path) -> Reader:
    return open_reader(ClassFolders(kind="class_folders"), raw)


def pairs(raw: Path) -> Reader:
    return open_reader(ImageMaskPairs(kind="image_mask_pairs"), raw)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.text("ab", max_size=3), st.text("ab", max_size=3))
def test_numbers_sort_as_numbers(first: int, second: int, before: str, after: str) -> None:
    # Blocks of neighbouring slices are cut in this order: slice 10 comes after slice 9.
    names = (f"{before}{number}{after}" for number in (first, second))
    one, other = (natural(name) for name in names)
    assert (one < other) == (first < second)


@example(["1.png", "01.png", "001.png"])
@given(st.lists(st.text() | st.text("01²٣a.", max_size=3)))
def test_any_names_have_one_order(names: list[str]) -> None:
    # Superscripts, other scripts' digits, 01 beside 1: the index must not depend on the disk's own order.
    turned = names[::-1]
    assert sorted(names, key=natural) == sorted(turned, key=natural)


@pytest.mark.parametrize("name", ["1²3.png", "²", "٣.png", "½1.png"])
def test_signs_that_look_like_numbers(name: str) -> None:
    assert natural(name)


def test_natural_order_of_files(tmp_path: Path) -> None:
    fill(tmp_path, "b10.png", "b9.png", "b01.png", "b1.png", "c/2.png", "a/10.png", "a/2.png")
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert found == ["a/2.png", "a/10.png", "b01.png", "b1.png", "b9.png", "b10.png", "c/2.png"]


def test_class_folders(tmp_path: Path) -> None:
    fill(tmp_path, "dog/1.png", "cat/10.jpg", "cat/9.webp", "cat/deep/10.png", "readme.txt")
    reader = class_folders(tmp_path)
    assert reader.samples() == [
        Sample(id="cat/deep/10.png", path="cat/deep/10.png", label="cat"),
        Sample(id="cat/9.webp", path="cat/9.webp", label="cat"),
        Sample(id="cat/10.jpg", path="cat/10.jpg", label="cat"),
        Sample(id="dog/1.png", path="dog/1.png", label="dog"),
    ]
    assert reader.read("cat/9.webp") == b"cat/9.webp"


def test_numbered_classes_in_the_order_of_numbers(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number}/a.png" for number in range(12)))
    assert [sample.label for sample in class_folders(tmp_path).samples()] == [str(number) for number in range(12)]


def test_split_folders(tmp_path: Path) -> None:
    fill(tmp_path, "Training/cat/1.png", "valid/cat/2.png", "test/dog/3.png")
    found = {(sample.path, sample.label, sample.split) for sample in class_folders(tmp_path).samples()}
    assert found == {
        ("Training/cat/1.png", "cat", "train"),
        ("valid/cat/2.png", "cat", "val"),
        ("test/dog/3.png", "dog", "test"),
    }


def test_a_class_folder_that_is_a_link(tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "cat/1.png")
    (raw / "dog").symlink_to(fill(tmp_path / "elsewhere", "deep/2.png"))
    (raw / "cat/more").symlink_to(fill(tmp_path / "more", "3.png"))
    (raw / "itself").symlink_to(raw)
    found = [(sample.path, sample.label) for sample in class_folders(raw).samples()]
    assert found == [("cat/more/3.png", "cat"), ("cat/1.png", "cat"), ("dog/deep/2.png", "dog")]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.png", "train/express/2.png", "bus/1.png", "bus/old/2.png")
    assert {(sample.label, sample.split) for sample in class_folders(tmp_path).samples()} == {
        ("train", None),
        ("bus", None),
    }


def test_something_beside_split_folders_is_named(tmp_path: Path) -> None:
    # Else a classifier would learn, without a word, to tell train images from test images.
    fill(tmp_path, "train/cat/1.png", "test/cat/2.png", "labels/cat/3.txt")
    with pytest.raises(DataError, match="'labels' stands beside split folders"):
        class_folders(tmp_path).samples()


def test_something_beside_one_split_folder_is_named(tmp_path: Path) -> None:
    # The two classes would be called "train" and "unlabelled".
    fill(tmp_path, "train/cat/1.png", "train/dog/2.png", "train/.DS_Store", "unlabelled/3.png")
    with pytest.raises(DataError, match="'unlabelled' stands beside split folders"):
        class_folders(tmp_path).samples()


def test_what_file_managers_leave_behind(tmp_path: Path) -> None:
    # Archives made on a Mac carry a folder __MACOSX, and every folder on Windows a Thumbs.db.
    fill(tmp_path, "train/cat/1.png", "test/cat/2.png", "__MACOSX/train/cat/._1.png")
    fill(tmp_path, "train/cat/Thumbs.db", "train/cat/.DS_Store", "train/.git/x.png", ".cache/x.png")
    assert [sample.path for sample in class_folders(tmp_path).samples()] == ["test/cat/2.png", "train/cat/1.png"]


def test_no_class_folders(tmp_path: Path) -> None:
    fill(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError, match="there are no class folders"):
        class_folders(tmp_path).samples()


def test_pairs_whatever_the_endings(tmp_path: Path) -> None:
    fill(tmp_path, "images/10.jpg", "images/9.tif", "masks/9.png", "masks/10.png", "images/.DS_Store")
    assert pairs(tmp_path).samples() == [
        Sample(id="9", path="images/9.tif", mask="masks/9.png"),
        Sample(id="10", path="images/10.jpg", mask="masks/10.png"),
    ]
    assert pairs(tmp_path).read("masks/9.png") == b"masks/9.png"


def test_pairs_with_dots_in_their_names(tmp_path: Path) -> None:
    fill(tmp_path, "images/scan.1.jpg", "images/scan.2.jpg", "masks/scan.1.png", "masks/scan.2.png")
    assert [(sample.id, sample.mask) for sample in pairs(tmp_path).samples()] == [
        ("scan.1", "masks/scan.1.png"),
        ("scan.2", "masks/scan.2.png"),
    ]


def test_pairs_in_split_folders(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{kind}/{split}/1.png" for kind in ("images", "masks") for split in ("train", "Validation", "x")))
    assert {(sample.id, sample.split) for sample in pairs(tmp_path).samples()} == {
        ("train/1", "train"),
        ("Validation/1", "val"),
        ("x/1", None),
    }


def test_pairs_below_split_folders(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{split}/{kind}/1.png" for split in ("train", "valid") for kind in ("images", "masks")))
    assert pairs(tmp_path).samples() == [
        Sample(id="train/1", path="train/images/1.png", mask="train/masks/1.png", split="train"),
        Sample(id="valid/1", path="valid/images/1.png", mask="valid/masks/1.png", split="val"),
    ]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["train/images/1.png", "val/images/2.png", "val/masks/2.png"], "train/masks: there is no such folder"),
        (
            ["train/images/1.png", "train/masks/1.png", "images/1.png", "masks/1.png"],
            "there are both images/ and train/",
        ),
        (["images/1.png", "images/2.png", "masks/1.png"], "1 names stand alone; '2' has an image but no mask"),
        (["images/1.png", "masks/1.png", "masks/2.png"], "1 names stand alone; '2' has a mask but no image"),
        (["images/1.png", "images/1.jpg", "masks/1.png"], "two files are called '1'"),
        (["images/1.png"], "masks: there is no such folder"),
        (["masks/1.png"], "images: there is no such folder"),
    ],
)
def test_pairs_that_do_not_fit(tmp_path: Path, paths: list[str], words: str) -> None:
    # A mask on the wrong image would teach nonsense.
    with pytest.raises(DataError, match=words):
        pairs(fill(tmp_path, *paths)).samples()
