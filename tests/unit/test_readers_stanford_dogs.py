"""Dogs in the official form and in Kaggle's: a class is an ImageNet id, however its name is spelt."""

from pathlib import Path

import numpy as np
import pytest
from public_data import named_samples, noise, save, shipped, write
from scipy.io import savemat

from imagewright.config.layout import StanfordDogs
from imagewright.errors import DataError
from imagewright.index.readers import Reader, Sample, open_reader

BREEDS = {
    "n02085620": ("Chihuahua", "chihuahua"),
    "n02089078": ("black-and-tan_coonhound", "black-and-tan_coonhound"),
    "n02096585": ("Boston_bull", "boston_bull"),
}
FILES = [f"{key}-{name}/{key}_{number}.jpg" for key, (name, _) in BREEDS.items() for number in (9, 10, 11)]


def official(raw: Path) -> Path:
    for file in FILES:
        save(raw / "Images" / file, noise(8, 8, 3))
    return raw


def kaggle(raw: Path) -> Path:
    rows = []
    for position, (_, breed) in enumerate(BREEDS.values()):
        save(raw / f"train/{position:032x}.jpg", noise(8, 8, 3))
        rows.append(f"{position:032x},{breed}")
    save(raw / f"test/{99:032x}.jpg", noise(8, 8, 3))
    write(raw / "labels.csv", ["id,breed", *rows])
    return raw


def lists(folder: Path, train: list[str], test: list[str], first: int = 1) -> None:
    """Lists as published: N×1 cells of names, N×1 class numbers."""
    numbers = {key: number for number, key in enumerate(BREEDS, first)}
    folder.mkdir(exist_ok=True)
    for name, files in (("train", train), ("test", test)):
        cells = np.array(files, dtype=object).reshape(-1, 1)
        labels = np.array([[numbers[file[:9]]] for file in files], np.uint8)
        savemat(folder / f"{name}_list.mat", {"file_list": cells, "annotation_list": cells, "labels": labels})


def reader(raw: Path) -> Reader:
    return open_reader(StanfordDogs(kind="stanford_dogs"), raw)


def test_the_official_form(tmp_path: Path) -> None:
    samples = reader(official(tmp_path)).samples()
    path = "Images/n02089078-black-and-tan_coonhound/n02089078_10.jpg"
    assert samples[4] == Sample(path, path, label="n02089078")
    assert [sample.path for sample in samples] == [f"Images/{file}" for file in FILES]


@pytest.mark.parametrize("place", [".", "lists"])
def test_lists_give_the_split(tmp_path: Path, place: str) -> None:
    lists(official(tmp_path) / place, FILES[::3] + FILES[1::3], FILES[2::3])
    samples = reader(tmp_path).samples()
    assert [sample.split for sample in samples] == ["train", "train", "test"] * 3


@pytest.mark.parametrize(
    ("train", "test", "first", "words"),
    [
        (FILES[:6], FILES[6:], 0, "has label 0, but n02085620 is number 1 of the folders"),
        (FILES[:6], FILES[6:8], 1, "1 files beside it are not listed; first: n02096585/n02096585_11.jpg"),
        (FILES[:6], [*FILES[6:], FILES[0]], 1, "n02085620_9.jpg is listed twice"),
        ([*FILES[:6], "n02085620-Chihuahua/n02085620_1.jpg"], FILES[6:], 1, "1 of its 10 files are not there"),
    ],
)
def test_lists_that_do_not_fit(tmp_path: Path, train: list[str], test: list[str], first: int, words: str) -> None:
    # Numbers counted from 0 would give every dog the breed before its own.
    lists(official(tmp_path), train, test, first)
    with pytest.raises(DataError, match=words):
        reader(tmp_path).samples()


@pytest.mark.parametrize("content", [None, b"", b"no list"])
def test_a_list_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    lists(official(tmp_path), FILES[:6], FILES[6:])
    broken = tmp_path / "test_list.mat"
    broken.unlink()
    if content is not None:
        broken.write_bytes(content)
    with pytest.raises(DataError, match=r"test_list.mat: file_list and labels cannot be read"):
        reader(tmp_path).samples()


def test_kaggles_form(tmp_path: Path) -> None:
    samples = reader(kaggle(tmp_path)).samples()
    path = f"train/{2:032x}.jpg"
    assert samples[2] == Sample(path, path, label="boston_bull")
    assert len(samples) == 3


def test_kaggles_files_that_are_missing(tmp_path: Path) -> None:
    (kaggle(tmp_path) / f"train/{1:032x}.jpg").unlink()
    with pytest.raises(DataError, match=r"labels.csv: 1 of its 3 files are not there"):
        reader(tmp_path).samples()


def test_both_forms_have_the_same_classes_in_the_same_order(tmp_path: Path) -> None:
    first, samples = named_samples("dogs", official(tmp_path / "official"))
    second, others = named_samples("dogs", kaggle(tmp_path / "kaggle"))
    assert first == second and len(first) == 120 and first == sorted(first)
    assert {sample.label for sample in samples} == {sample.label for sample in others} == set(BREEDS)


def test_the_shipped_names_are_of_one_class_each() -> None:
    names = shipped("dogs").names
    assert len({name.casefold().replace("-", " ") for name in names.values()}) == 120
    assert names["n02116738"] == "African hunting dog"


def test_a_folder_without_an_id(tmp_path: Path) -> None:
    save(official(tmp_path) / "Images/Chihuahua/1.jpg", noise(8, 8, 3))
    with pytest.raises(DataError, match="Chihuahua: the name begins with no id"):
        reader(tmp_path).samples()


def test_neither_form_and_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is neither Images/ nor labels.csv"):
        reader(tmp_path)
    kaggle(official(tmp_path))
    with pytest.raises(DataError, match=r"there are both Images/ and labels.csv"):
        reader(tmp_path)
