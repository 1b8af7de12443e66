"""German Traffic Sign Recognition Benchmark (Stallkamp et al. 2012): the official folders, or Kaggle's.

A label is the class's number without leading zeros, in both forms. A track is one sign filmed while passing it: its
30 frames are nearly the same picture, so that (class, track) is the group. Test images come without tracks; one that
has a track's name was moved there from training.
"""

import re
from pathlib import Path

from imagewright.errors import DataError
from imagewright.files import walk_files
from imagewright.index.readers.base import FileReader, Reader, Sample, check_listing, natural, subfolders, which_form
from imagewright.index.readers.table import read_table

TRAIN = ("Final_Training/Images", "Training")
TEST = "Final_Test/Images"
TEST_LABELS = "GT-final_test.csv"
FRAME = re.compile(r"(?:\d+_)?(?P<track>\d+)_\d+\.\w+")
IMAGES = (".ppm", ".png", ".jpg", ".jpeg")


def open_gtsrb(raw: Path) -> Reader:
    """The reader of the form that lies in `raw`, or in a folder `GTSRB` there.

    Raises:
        DataError: there is no form, or both.
    """
    top = raw / "GTSRB" if (raw / "GTSRB").is_dir() else raw
    train = next((top / name for name in TRAIN if (top / name).is_dir()), None)
    which_form(raw, {f"{TRAIN[0]}/": train is not None, "Train.csv": (top / "Train.csv").is_file()})
    return OfficialGtsrbReader(raw, top, train) if train else KaggleGtsrbReader(raw, top)


class OfficialGtsrbReader(FileReader):
    """Reads `Final_Training/Images/000NN/` and `Final_Test/Images/`, each with its semicolon tables."""

    def __init__(self, raw: Path, top: Path, train: Path) -> None:
        super().__init__(raw)
        self.top = top
        self.train = train

    def samples(self) -> list[Sample]:
        """Every image; those of `Final_Test` are the test split.

        Raises:
            DataError: a folder, its table and its files do not fit, or the test labels are missing.
        """
        found = [sample for folder in subfolders(self.train) for sample in self._of_class(folder)]
        test = self.top / TEST
        if not test.is_dir():
            return found
        listing = self._test_labels(test)
        return found + [
            Sample(id=path, path=path, label=label, split="test", group=_track_if_named(path, label))
            for path, label in self._listed(test, listing).items()
        ]

    def _of_class(self, folder: Path) -> list[Sample]:
        if not folder.name.isdecimal():
            raise DataError(f"{folder}: the folder's name is no class number", "move it away")
        listing = folder / f"GT-{folder.name}.csv"
        samples = []
        for path, label in self._listed(folder, listing).items():
            if label != str(int(folder.name)):
                raise DataError(
                    f"{listing}: {path} has ClassId {label}, but lies in {folder.name}", "correct the one or the other"
                )
            samples.append(Sample(id=path, path=path, label=label, split="train", group=_track(path, label)))
        return samples

    def _listed(self, folder: Path, listing: Path) -> dict[str, str]:
        """The label of each image in a folder, by path and in natural order."""
        labels = {
            row["filename"]: _class(row["classid"], listing, line)
            for line, row in read_table(listing, ["Filename", "ClassId"])
        }
        check_listing(listing, labels, [path.name for path in folder.iterdir() if path.suffix.lower() in IMAGES])
        below = folder.relative_to(self.raw).as_posix()
        return {f"{below}/{name}": labels[name] for name in sorted(labels, key=natural)}

    def _test_labels(self, test: Path) -> Path:
        for folder in (test, self.top, self.raw):
            if (folder / TEST_LABELS).is_file():
                return folder / TEST_LABELS
        only = next(iter(self.raw.rglob("GT-final_test.test.csv")), None)
        raise DataError(
            f"{only}: this table has no labels, and {TEST_LABELS} is missing" if only else f"{test}: no {TEST_LABELS}",
            f"put {TEST_LABELS} from GTSRB_Final_Test_GT.zip beside the images, or remove Final_Test",
        )


class KaggleGtsrbReader(FileReader):
    """Reads `Train.csv` and `Test.csv`, which name the files and their classes."""

    def __init__(self, raw: Path, top: Path) -> None:
        super().__init__(raw)
        self.top = top

    def samples(self) -> list[Sample]:
        """Every listed image.

        Raises:
            DataError: a table and the files or folders do not fit.
        """
        found = self._listed("Train", "train")
        return found + self._listed("Test", "test") if (self.top / "Test.csv").is_file() else found

    def _listed(self, folder: str, split: str) -> list[Sample]:
        listing = self.top / f"{folder}.csv"
        below = self.top.relative_to(self.raw)
        found: dict[str, Sample] = {}
        for line, row in read_table(listing, ["Path", "ClassId"]):
            label, path = _class(row["classid"], listing, line), (below / row["path"]).as_posix()
            if split == "train" and Path(row["path"]).parent.name != label:
                raise DataError(
                    f"{listing}, line {line}: ClassId {label} does not fit {row['path']}",
                    "correct the one or the other",
                )
            group = (_track if split == "train" else _track_if_named)(path, label)
            found[path] = Sample(id=path, path=path, label=label, split=split, group=group)
        there = [
            path.relative_to(self.raw).as_posix()
            for path in walk_files(self.top / folder)
            if path.suffix.lower() in IMAGES
        ]
        check_listing(listing, found, there)
        return [found[path] for path in sorted(found, key=natural)]


def _class(written: str, listing: Path, line: int) -> str:
    if not written.isdecimal():
        raise DataError(f"{listing}, line {line}: ClassId {written!r} is no number", "correct the line")
    return str(int(written))


def _track(path: str, label: str) -> str:
    name = path.rpartition("/")[2]
    if not (match := FRAME.fullmatch(name)):
        raise DataError(f"{path}: the name does not say its track and frame, as in 00003_00017", "give its name back")
    return f"{label}/{match['track']}"


def _track_if_named(path: str, label: str) -> str | None:
    return _track(path, label) if FRAME.fullmatch(path.rpartition("/")[2]) else None
