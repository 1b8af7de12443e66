"""What every reader offers, and what readers share."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagewright.errors import DataError
from imagewright.files import walk_files

SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True)
class Sample:
    """One image with what the layout says of it.

    Attributes:
        id: unique, stable and readable: the path, without its ending where the layout matches by stem.
        path: where the image is, in terms of the reader's `read`.
        label: the class's name (classification).
        mask: where the mask is (segmentation).
        split: train, val or test where the layout gives it.
        group: what must stay together (track, patient) where the layout knows it.
    """

    id: str
    path: str
    label: str | None = None
    mask: str | None = None
    split: str | None = None
    group: str | None = None


class Reader(Protocol):
    """A layout of raw data."""

    def samples(self) -> list[Sample]:
        """Every sample, in natural order.

        Raises:
            DataError: the folder is not laid out as declared.
        """
        ...

    def read(self, path: str) -> bytes:
        """The encoded picture of a sample's `path` or `mask`: a file's bytes, or PNG where a sample is not a file.

        Raises:
            DataError: what should be made into PNG is broken.
            OSError: the file cannot be read.
        """
        ...


class FileReader:
    """What readers share whose samples are files below `raw`."""

    def __init__(self, raw: Path) -> None:
        self.raw = raw

    def read(self, path: str) -> bytes:
        """A file's bytes."""
        return (self.raw / path).read_bytes()


def which_form(raw: Path, forms: Mapping[str, bool]) -> str:
    """The one form of a public data set that lies in `raw`.

    Args:
        raw: for the message.
        forms: for each form, in a person's words, whether it is there.

    Raises:
        DataError: there is none, or more than one.
    """
    there = [form for form, found in forms.items() if found]
    if not there:
        raise DataError(f"{raw}: there is neither {' nor '.join(forms)}", "put one of these there, as it was published")
    if len(there) > 1:
        raise DataError(f"{raw}: there are both {' and '.join(there)}", "move all but one of them away")
    return there[0]


def check_listing(listing: Path, listed: Collection[str], there: Collection[str]) -> None:
    """Compare the files that a listing names with those that lie beside it.

    Raises:
        DataError: a file is missing, or one is not listed.
    """
    if missing := sorted(set(listed) - set(there), key=natural):
        raise DataError(
            f"{listing}: {len(missing)} of its {len(listed)} files are not there; first: {missing[0]}",
            "unpack the whole archive again, or correct the list",
        )
    if extra := sorted(set(there) - set(listed), key=natural):
        raise DataError(
            f"{listing}: {len(extra)} files beside it are not listed; first: {extra[0]}", "list them, or move them away"
        )


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key under which 9 stands before 10, as people sort; 01 and 1 have an order too, whatever the disk's."""
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part]
    return [*parts, (-2, text)]


def files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder in natural order, without hidden ones and those that file managers leave behind."""
    found = [
        path
        for path in walk_files(folder)
        if path.name.lower() not in IGNORED and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    yield from sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix()))


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder in natural order, without hidden ones and those that file managers leave behind."""
    found = [
        path
        for path in folder.iterdir()
        if path.is_dir()
        and path.name.lower() not in IGNORED
        and not path.name.startswith(".")
        # A link to where one is, or above, is no folder of its own.
        and not (path.is_symlink() and folder.resolve().is_relative_to(path.resolve()))
    ]
    return sorted(found, key=lambda path: natural(path.name))
