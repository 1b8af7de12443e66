"""Stanford Dogs (Khosla et al. 2011): the official `Images/`, or Kaggle's `labels.csv` and `train/`.

The official label is the ImageNet id, with which a folder's name begins: names are spelt in many ways, ids in one.
Kaggle's label is the breed's name; `names` in the data config says which id it belongs to.
"""

import re
from pathlib import Path

from imagewright.errors import DataError
from imagewright.index.readers.base import (
    FileReader,
    Reader,
    Sample,
    check_listing,
    files_below,
    natural,
    subfolders,
    which_form,
)  # fmt: skip
from imagewright.index.readers.table import read_table

IMAGES = ("Images", "images/Images")
ID = re.compile(r"n\d{8}")


def open_stanford_dogs(raw: Path) -> Reader:
    """The reader of the form that lies in `raw`.

    Raises:
        DataError: there is no form, or both.
    """
    images = next((raw / name for name in IMAGES if (raw / name).is_dir()), None)
    which_form(raw, {"Images/": images is not None, "labels.csv": (raw / "labels.csv").is_file()})
    return OfficialDogReader(raw, images) if images else KaggleDogReader(raw)


class OfficialDogReader(FileReader):
    """Reads `Images/n02085620-Chihuahua/*.jpg`, and the split from `train_list.mat` and `test_list.mat` if there."""

    def __init__(self, raw: Path, images: Path) -> None:
        super().__init__(raw)
        self.images = images

    def samples(self) -> list[Sample]:
        """Every image.

        Raises:
            DataError: a folder's name begins with no id, or a list does not fit the folders.
        """
        found: dict[str, Sample] = {}
        for folder in subfolders(self.images):
            label = folder.name.partition("-")[0]
            if not ID.fullmatch(label):
                raise DataError(
                    f"{folder}: the name begins with no id, as in n02085620-Chihuahua", "give its name back"
                )
            for file in files_below(folder):
                path = file.relative_to(self.raw).as_posix()
                found[f"{label}/{file.name}"] = Sample(id=path, path=path, label=label)
        split_of = self._lists({str(sample.label) for sample in found.values()}, found)
        return [
            Sample(id=sample.id, path=sample.path, label=sample.label, split=split_of.get(key))
            for key, sample in found.items()
        ]

    def _lists(self, ids: set[str], there: dict[str, Sample]) -> dict[str, str]:
        """The split of each image, by id and file name; empty without lists."""
        folder = next((f for f in (self.raw, self.raw / "lists") if any(f.glob("*_list.mat"))), None)
        if folder is None:
            return {}
        number_of = {label: number for number, label in enumerate(sorted(ids), 1)}
        split_of: dict[str, str] = {}
        for split in ("train", "test"):
            listing = folder / f"{split}_list.mat"
            for name, number in _read_list(listing):
                directory, _, file = name.rpartition("/")
                label = directory.partition("-")[0]
                if number != (position := number_of.get(label)):
                    raise DataError(
                        f"{listing}: {name} has label {number}, but {label} is number {position} of the folders",
                        "take the lists and the images from one source",
                    )
                if (key := f"{label}/{file}") in split_of:
                    raise DataError(f"{listing}: {name} is listed twice", "take the published lists")
                split_of[key] = split
        check_listing(folder, split_of, there)
        return split_of


class KaggleDogReader(FileReader):
    """Reads `train/<id>.jpg` with the breeds in `labels.csv`; `test/` has no labels and is not read."""

    def samples(self) -> list[Sample]:
        """Every image in `train/`.

        Raises:
            DataError: the table and the files do not fit.
        """
        listing = self.raw / "labels.csv"
        breeds = {f"train/{row['id']}.jpg": row["breed"] for _, row in read_table(listing, ["id", "breed"])}
        check_listing(listing, breeds, [f"train/{path.name}" for path in (self.raw / "train").glob("*.jpg")])
        return [Sample(id=path, path=path, label=breeds[path]) for path in sorted(breeds, key=natural)]


def _read_list(path: Path) -> list[tuple[str, int]]:
    """The `file_list` and `labels` of a MATLAB file: N × 1 cells of text, N × 1 numbers from 1."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["file_list", "labels"])
        names = [str(cell.item()) for cell in content["file_list"].ravel()]
        numbers = [int(number) for number in content["labels"].ravel()]
        return list(zip(names, numbers, strict=True))
    except Exception as error:  # scipy raises anything on a broken file
        raise DataError(
            f"{path}: file_list and labels cannot be read ({error})",
            "take train_list.mat and test_list.mat from lists.tar",
        ) from None
