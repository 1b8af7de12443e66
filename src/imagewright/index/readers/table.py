"""Tables of labels as text: commas, semicolons or tabs, with or without a byte order mark."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagewright.errors import DataError

DELIMITERS = ",;\t"


def read_table(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Read a table with a line of column names; the delimiter is the one that this line holds most often.

    Args:
        path: the file, in UTF-8.
        needed: columns that have to be there; upper and lower case are alike.

    Yields:
        The line's number in the file, from 2, and its values by column name in lower case, stripped. Empty lines are
        left out.

    Raises:
        DataError: the file is missing, no text, or without a needed column; or a line has too many or too few values.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(DELIMITERS, key=first.count)
            columns = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
            _check_columns(path, columns, needed)
            reader = csv.reader(file, delimiter=delimiter)
            for values in reader:
                if not any(value.strip() for value in values):
                    continue
                number = reader.line_num + 1
                if len(values) != len(columns):
                    raise DataError(
                        f"{path}, line {number}: {len(values)} values for {len(columns)} columns", "correct the line"
                    )
                yield number, dict(zip(columns, (value.strip() for value in values), strict=True))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "put the table there, or correct `layout`") from None
    except (UnicodeDecodeError, csv.Error):
        raise DataError(f"{path}: this is no table in UTF-8 text", "save it as CSV in UTF-8") from None


def _check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name.lower() not in columns]:
        raise DataError(
            f"{path}: there is no column {missing[0]!r}, only {', '.join(map(repr, columns))}",
            "write the columns' names in the first line",
        )
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise DataError(f"{path}: two columns are called {twice[0]!r}", "rename or remove one")
