"""A table of samples: `path,label[,split][,group][,mask]`, with paths from the table's own folder."""

import posixpath
from pathlib import Path, PurePosixPath

from imagewright.config.names import nearest
from imagewright.errors import DataError
from imagewright.index.readers.base import SPLITS, FileReader, Sample, natural
from imagewright.index.readers.table import read_table


class CsvManifestReader(FileReader):
    """Reads what a table below `raw` lists; other files do not count."""

    def __init__(self, raw: Path, file: str) -> None:
        super().__init__(raw)
        self.table = raw / file
        self.folder = PurePosixPath(file).parent.as_posix()

    def samples(self) -> list[Sample]:
        """A sample a line.

        Raises:
            DataError: the table or a file is missing, a path leaves `raw` or stands there twice, or a split is unknown.
        """
        found: dict[str, tuple[int, Sample]] = {}
        missing: list[str] = []
        for number, row in read_table(self.table, ["path"]):
            where = f"{self.table}, line {number}"
            path = self._inside(row["path"], where)
            mask = self._inside(row["mask"], where) if row.get("mask") else None
            if path in found:
                raise DataError(f"{where}: {path} stands in line {found[path][0]} already", "remove one of the lines")
            missing += [f"{file} (line {number})" for file in (path, mask) if file and not (self.raw / file).is_file()]
            split = self._split(row.get("split") or "", where)
            sample = Sample(path, path, row.get("label") or None, mask, split, row.get("group") or None)
            found[path] = number, sample
        if missing:
            raise DataError(
                f"{self.table}: {len(missing)} files are not there; first: {missing[0]}",
                "put them there, or correct the table; paths start at its own folder",
            )
        return sorted((sample for _, sample in found.values()), key=lambda sample: natural(sample.path))

    def _inside(self, path: str, where: str) -> str:
        if not path:
            raise DataError(f"{where}: the path is empty", "write one, or remove the line")
        joined = posixpath.normpath(posixpath.join(self.folder, path))
        if posixpath.isabs(joined) or joined.split("/")[0] == "..":
            raise DataError(f"{where}: {path} is outside of {self.raw}", "name files below it, from the table's folder")
        return joined

    def _split(self, word: str, where: str) -> str | None:
        if word and word.lower() not in SPLITS:
            raise DataError(f"{where}: {word!r} is no split", nearest(word, SPLITS))
        return SPLITS.get(word.lower())
