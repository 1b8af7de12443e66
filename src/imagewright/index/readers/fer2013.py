"""FER2013: 48×48 grey faces as rows of a table, or as files in split and class folders.

Goodfellow et al. 2013, "Challenges in Representation Learning". The table is `fer2013.csv` (`emotion,pixels,Usage`) or
`icml_face_data.csv` (the same rows, other column names). It has 300 MB of text: one pass notes where each row starts,
and a picture is parsed when it is asked for.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from imagewright.errors import DataError
from imagewright.imaging import encode_png
from imagewright.index.readers.base import Reader, Sample, subfolders, which_form
from imagewright.index.readers.class_folders import ClassFolderReader

SIDE = 48
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The names of 0 to 6, in the order of the publication."""
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
FILES = ("fer2013.csv", "icml_face_data.csv", "fer2013/fer2013.csv")
COLUMNS = ("emotion", "pixels", "usage")


def open_fer2013(raw: Path) -> Reader:
    """The reader of the form that lies in `raw`; where both tables lie there, `fer2013.csv` is read.

    Raises:
        DataError: there is no form, or both.
    """
    table = next((raw / name for name in FILES if (raw / name).is_file()), None)
    folders = raw.is_dir() and any(folder.name.lower() == "train" for folder in subfolders(raw))
    which_form(raw, {"fer2013.csv": table is not None, "train/<class>/": folders})
    return Fer2013TableReader(raw, table) if table else ClassFolderReader(raw)


class Fer2013TableReader:
    """Reads rows of the table; a sample's path is `fer2013.csv#<line>`, with lines counted from 1 as editors do."""

    def __init__(self, raw: Path, file: Path) -> None:
        self.raw = raw
        self.file = file

    def samples(self) -> list[Sample]:
        """A sample a row.

        Raises:
            DataError: a column is missing, or a row has an unknown emotion or usage.
        """
        name = self.file.relative_to(self.raw).as_posix()
        return [
            Sample(id=f"{name}#{line}", path=f"{name}#{line}", label=row.label, split=row.split)
            for line, row in self._table().rows.items()
        ]

    def read(self, path: str) -> bytes:
        """A row's pixels as PNG, 48×48 grey.

        Raises:
            DataError: there are more or fewer than 2,304 pixels, or one is no number from 0 to 255.
        """
        line, table = int(path.rpartition("#")[2]), self._table()
        with self.file.open("rb") as file:
            file.seek(table.rows[line].offset)
            written = _values(file.readline())[table.pixels].split()
        where = f"{self.file.name}, line {line}"
        if len(written) != SIDE * SIDE:
            raise DataError(
                f"{where}: {len(written)} pixels, not {SIDE * SIDE}", "replace the file by the published one"
            )
        try:
            pixels = np.array([int(value) for value in written], np.uint8)
        except (ValueError, OverflowError):
            raise DataError(
                f"{where}: a pixel is no whole number from 0 to 255", "replace the file by the published one"
            ) from None
        return encode_png(pixels.reshape(SIDE, SIDE))

    def _table(self) -> "_Table":
        status = self.file.stat()
        return _scan(self.file, (status.st_size, status.st_mtime_ns))


@dataclass(frozen=True)
class _Row:
    offset: int
    label: str
    split: str


@dataclass(frozen=True)
class _Table:
    pixels: int
    rows: dict[int, _Row]


@lru_cache(maxsize=1)
def _scan(file: Path, stamp: tuple[int, int]) -> _Table:
    """Where the rows start; kept in each process until the file changes."""
    rows: dict[int, _Row] = {}
    with file.open("rb") as lines:
        header = lines.readline()
        columns = [name.lower() for name in _values(header.removeprefix(b"\xef\xbb\xbf"))]
        if missing := [name for name in COLUMNS if name not in columns]:
            raise DataError(f"{file}: there is no column {missing[0]!r}, only {columns[:5]}", "replace the file")
        emotion, pixels, usage = map(columns.index, COLUMNS)
        offset = len(header)
        for number, line in enumerate(lines, 2):
            if line.strip():
                values = _values(line)
                where = f"{file}, line {number}"
                if len(values) != len(columns):
                    raise DataError(f"{where}: {len(values)} values for {len(columns)} columns", "correct the line")
                rows[number] = _Row(offset, _emotion(values[emotion], where), _usage(values[usage], where))
            offset += len(line)
    return _Table(pixels, rows)


def _values(line: bytes) -> list[str]:
    # No value holds a comma, so there is no need for a CSV parser, which would read each of 80 million numbers.
    return [value.strip(' "\r\n') for value in line.decode("utf-8", "replace").split(",")]


def _emotion(written: str, where: str) -> str:
    if written not in {str(number) for number in range(len(EMOTIONS))}:
        raise DataError(f"{where}: emotion {written!r} is no number from 0 to 6", "correct or remove the line")
    return EMOTIONS[int(written)]


def _usage(written: str, where: str) -> str:
    if written not in USAGES:
        raise DataError(f"{where}: usage {written!r} is none of {', '.join(USAGES)}", "correct or remove the line")
    return USAGES[written]
