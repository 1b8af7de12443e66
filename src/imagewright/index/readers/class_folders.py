"""One folder a class, with or without split folders above: `cat/1.jpg`, or `train/cat/1.jpg` and `test/cat/2.jpg`."""

from pathlib import Path

from imagewright.errors import DataError
from imagewright.index.readers.base import SPLITS, FileReader, Sample, files_below, subfolders


class ClassFolderReader(FileReader):
    """Reads class folders below `raw`; the folder's name is the class's name."""

    def samples(self) -> list[Sample]:
        """Every file in a class folder.

        Raises:
            DataError: there are no folders, or something else stands beside split folders.
        """
        top = subfolders(self.raw)
        if not top:
            raise DataError(f"{self.raw}: there are no class folders", "put each class's images in a folder of its own")
        split_of = {folder: SPLITS.get(folder.name.lower()) for folder in top}
        if all(split_of.values()):
            return [
                sample
                for folder in top
                for class_folder in subfolders(folder)
                for sample in self._of_class(class_folder, split_of[folder])
            ]
        splits = [folder for folder in top if split_of[folder]]
        if len(set(split_of.values())) > 2 or any(map(_holds_folders, splits)):
            # Splits and something else: else `train` would become a class.
            other = next(folder.name for folder, split in split_of.items() if not split)
            raise DataError(f"{self.raw}: {other!r} stands beside split folders", "move it into them, or out of there")
        return [sample for folder in top for sample in self._of_class(folder, None)]

    def _of_class(self, folder: Path, split: str | None) -> list[Sample]:
        paths = [path.relative_to(self.raw).as_posix() for path in files_below(folder)]
        return [Sample(id=path, path=path, label=folder.name, split=split) for path in paths]


def _holds_folders(folder: Path) -> bool:
    """Whether it is a split's and not a class's: folders lie in it, and no files."""
    return bool(subfolders(folder)) and not any(file.parent == folder for file in files_below(folder))
