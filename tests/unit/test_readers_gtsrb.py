"""Traffic signs in the official form and in Kaggle's: the same classes, and tracks that stay in one split."""

from pathlib import Path

import pytest
from public_data import named_samples, noise, save, write

from imagewright.config.layout import Gtsrb
from imagewright.errors import DataError
from imagewright.index.readers import Reader, Sample, open_reader

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
KAGGLE = "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path"
CLASSES = (0, 2, 10)


def official(raw: Path, below: str = "GTSRB") -> Path:
    """Three classes with two tracks of two frames each, and a test image a class."""
    top = raw / below
    for number in CLASSES:
        folder = top / f"Final_Training/Images/{number:05d}"
        names = [f"{track:05d}_{frame:05d}.ppm" for track in range(2) for frame in range(2)]
        for name in names:
            save(folder / name, noise(8, 8, 3))
        rows = [f"{name};8;8;1;1;7;7;{number}" for name in names]
        write(folder / f"GT-{number:05d}.csv", [HEADER, *rows], end="\r\n")
    for position in range(len(CLASSES)):
        save(top / f"Final_Test/Images/{position:05d}.ppm", noise(8, 8, 3))
    rows = [f"{position:05d}.ppm;8;8;1;1;7;7;{number}" for position, number in enumerate(CLASSES)]
    write(top / "Final_Test/Images/GT-final_test.csv", [HEADER, *rows], end="\r\n")
    return raw


def kaggle(raw: Path) -> Path:
    rows = []
    for number in CLASSES:
        for track in range(2):
            for frame in range(2):
                path = f"Train/{number}/{number:05d}_{track:05d}_{frame:05d}.png"
                save(raw / path, noise(8, 8, 3))
                rows.append(f"8,8,1,1,7,7,{number},{path}")
    write(raw / "Train.csv", [KAGGLE, *rows])
    tests = [f"8,8,1,1,7,7,{number},Test/{position:05d}.png" for position, number in enumerate(CLASSES)]
    for position in range(len(CLASSES)):
        save(raw / f"Test/{position:05d}.png", noise(8, 8, 3))
    write(raw / "Test.csv", [KAGGLE, *tests])
    return raw


def reader(raw: Path) -> Reader:
    return open_reader(Gtsrb(kind="gtsrb"), raw)


@pytest.mark.parametrize("below", ["GTSRB", "."])
def test_the_official_form(tmp_path: Path, below: str) -> None:
    samples = reader(official(tmp_path, below)).samples()
    top = "" if below == "." else f"{below}/"
    path = f"{top}Final_Training/Images/00000/00001_00000.ppm"
    assert samples[2] == Sample(path, path, label="0", split="train", group="0/00001")
    path = f"{top}Final_Test/Images/00001.ppm"
    assert samples[-2] == Sample(path, path, label="2", split="test")
    assert len(samples) == 15 and reader(tmp_path).read(path)[:2] == b"P6"


def test_kaggles_form(tmp_path: Path) -> None:
    samples = reader(kaggle(tmp_path)).samples()
    path = "Train/10/00010_00001_00000.png"
    assert Sample(path, path, label="10", split="train", group="10/00001") in samples
    assert Sample("Test/00002.png", "Test/00002.png", label="10", split="test") in samples
    assert [sample.label for sample in samples[::4]] == ["0", "2", "10", "0"]


def test_both_forms_have_the_same_classes_and_groups(tmp_path: Path) -> None:
    first, samples = named_samples("signs", official(tmp_path / "official"))
    second, others = named_samples("signs", kaggle(tmp_path / "kaggle"))
    assert first == second == [str(number) for number in range(43)]
    facts = [[(sample.label, sample.split, sample.group) for sample in found] for found in (samples, others)]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("place", [".", "GTSRB"])
def test_test_labels_at_the_top(tmp_path: Path, place: str) -> None:
    labels = official(tmp_path) / "GTSRB/Final_Test/Images/GT-final_test.csv"
    labels.rename(tmp_path / place / labels.name)
    assert [sample.label for sample in reader(tmp_path).samples()[-3:]] == ["0", "2", "10"]


def test_test_images_without_labels_are_named(tmp_path: Path) -> None:
    # The archive of test images has a table too, but the answers came in one of their own.
    labels = official(tmp_path) / "GTSRB/Final_Test/Images/GT-final_test.csv"
    labels.rename(labels.with_name("GT-final_test.test.csv"))
    with pytest.raises(DataError, match=r"GT-final_test.test.csv: this table has no labels, and GT-final_test.csv is"):
        reader(tmp_path).samples()


def test_without_test_images(tmp_path: Path) -> None:
    (official(tmp_path) / "GTSRB/Final_Test").rename(tmp_path / "away")
    assert {sample.split for sample in reader(tmp_path).samples()} == {"train"}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (";2\n", ";10\n", "00000_00000.ppm has ClassId 10, but lies in 00002"),
        (";2\n", ";x\n", "line 2: ClassId 'x' is no number"),
        ("00001_00001.ppm", "00001_00009.ppm", "1 of its 4 files are not there; first: 00001_00009.ppm"),
        ("00001_00001.ppm;8;8;1;1;7;7;2\n", "", "1 files beside it are not listed; first: 00001_00001.ppm"),
        ("ClassId", "Class", "there is no column 'ClassId'"),
    ],
)
def test_a_table_that_does_not_fit_its_folder(tmp_path: Path, old: str, new: str, words: str) -> None:
    edit(official(tmp_path) / "GTSRB/Final_Training/Images/00002/GT-00002.csv", old, new)
    with pytest.raises(DataError, match=words) as caught:
        reader(tmp_path).samples()
    assert "GT-00002.csv" in caught.value.problem


def test_a_name_without_a_track(tmp_path: Path) -> None:
    # Without tracks, 29 frames of a sign would be learnt and the thirtieth judged.
    folder = official(tmp_path) / "GTSRB/Final_Training/Images/00002"
    (folder / "00001_00001.ppm").rename(folder / "last.ppm")
    edit(folder / "GT-00002.csv", "00001_00001.ppm", "last.ppm")
    with pytest.raises(DataError, match=r"last.ppm: the name does not say its track"):
        reader(tmp_path).samples()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",10,Train/10/", ",2,Train/10/", "Train.csv, line 10: ClassId 2 does not fit Train/10/00010_00000_00000.png"),
        ("Train/10/00010_00000_00000.png", "Train/10/00010_00005_00000.png", "1 of its 12 files are not there"),
    ],
)
def test_kaggles_table_that_does_not_fit(tmp_path: Path, old: str, new: str, words: str) -> None:
    edit(kaggle(tmp_path) / "Train.csv", old, new)
    with pytest.raises(DataError, match=words):
        reader(tmp_path).samples()


def test_neither_form_and_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is neither Final_Training/Images/ nor Train.csv"):
        reader(tmp_path)
    kaggle(official(tmp_path, "."))
    with pytest.raises(DataError, match=r"there are both Final_Training/Images/ and Train.csv"):
        reader(tmp_path)
