"""FER2013 in its two tables and its folders: one order of classes, and pixels that no step has changed."""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from public_data import named_samples, noise, save, write

from imagewright.config.layout import Fer2013
from imagewright.errors import DataError
from imagewright.imaging import load_pixels
from imagewright.index.inspect import inspect_samples
from imagewright.index.readers import Reader, Sample, open_reader
from imagewright.index.readers.fer2013 import EMOTIONS

FACES = [noise(48, 48, seed=seed) for seed in range(7)]
USAGES = ["Training", "PublicTest", "PrivateTest", "Training", "Training", "Training", "Training"]


def spelt(face: NDArray[np.uint8]) -> str:
    return " ".join(map(str, face.ravel().tolist()))


def rows(order: Sequence[str] = ("emotion", "pixels", "Usage"), between: str = ",") -> list[str]:
    table = [
        {"emotion": str(number), "pixels": spelt(face), "Usage": usage}
        for number, (face, usage) in enumerate(zip(FACES, USAGES, strict=True))
    ]
    return [between.join(order), *(between.join(row[name] for name in order) for row in table)]


def reader(raw: Path) -> Reader:
    return open_reader(Fer2013(kind="fer2013"), raw)


def in_folders(raw: Path) -> None:
    splits = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
    for number, (face, usage) in enumerate(zip(FACES, USAGES, strict=True)):
        save(raw / splits[usage] / EMOTIONS[number] / f"{usage}_{number}.png", face)


def test_the_table(tmp_path: Path) -> None:
    write(tmp_path / "fer2013.csv", rows())
    samples = reader(tmp_path).samples()
    assert samples[0] == Sample("fer2013.csv#2", "fer2013.csv#2", label="angry", split="train")
    assert [sample.label for sample in samples] == list(EMOTIONS)
    assert [sample.split for sample in samples] == ["train", "val", "test", "train", "train", "train", "train"]
    for sample, face in zip(samples, FACES, strict=True):
        content = reader(tmp_path).read(sample.path)
        assert Image.open(io.BytesIO(content)).format == "PNG"
        assert np.array_equal(load_pixels(content), face)


def test_the_table_of_the_challenge(tmp_path: Path) -> None:
    # icml_face_data.csv: another order, spaces in the names, and lines that end as on Windows.
    write(tmp_path / "icml_face_data.csv", rows(("emotion", "Usage", "pixels"), ", "), end="\r\n")
    found = reader(tmp_path)
    samples = found.samples()
    assert [sample.label for sample in samples] == list(EMOTIONS)
    assert np.array_equal(load_pixels(found.read(samples[6].path)), FACES[6])


def test_quoted_pixels_and_empty_lines(tmp_path: Path) -> None:
    lines = [f'"{line.split(",")[0]}","{line.split(",")[1]}","{line.split(",")[2]}"' for line in rows()]
    write(tmp_path / "fer2013.csv", [lines[0], "", *lines[1:]])
    found = reader(tmp_path)
    assert found.samples()[0].id == "fer2013.csv#3"
    assert np.array_equal(load_pixels(found.read("fer2013.csv#3")), FACES[0])


def test_all_forms_have_the_same_classes_in_the_same_order(tmp_path: Path) -> None:
    # Folders sort neutral before sad; a model of the one form would be wrong on the other.
    write(tmp_path / "table/fer2013.csv", rows())
    in_folders(tmp_path / "folders")
    table, samples = named_samples("emotion", tmp_path / "table")
    folders, files = named_samples("emotion", tmp_path / "folders")
    assert table == folders == list(EMOTIONS)
    assert {(s.label, s.split) for s in samples} == {(s.label, s.split) for s in files}


def test_both_forms_give_the_same_pixels(tmp_path: Path) -> None:
    # Copies across splits are found by this hash, whichever form the data came in.
    write(tmp_path / "table/fer2013.csv", rows())
    in_folders(tmp_path / "folders")
    hashes = []
    for form in ("table", "folders"):
        found = reader(tmp_path / form)
        seen = inspect_samples(found, found.samples(), None, 10_000, 2)
        hashes.append(dict(zip(seen["label"], seen["pixels"], strict=True)))
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"0,{spelt(FACES[0])} 1,Training", "line 2: 2305 pixels, not 2304"),
        ("0,,Training", "line 2: 0 pixels, not 2304"),
        (f"0,{spelt(FACES[0]).replace(' ', ' x', 1)},Training", "line 2: a pixel is no whole number"),
        (f"0,256{' 1' * 2303},Training", "line 2: a pixel is no whole number"),
        (f"0,-1{' 1' * 2303},Training", "line 2: a pixel is no whole number"),
    ],
)
def test_broken_pixels_are_listed_as_unreadable(tmp_path: Path, line: str, words: str) -> None:
    write(tmp_path / "fer2013.csv", [rows()[0], line, rows()[2]])
    found = reader(tmp_path)
    seen = inspect_samples(found, found.samples(), None, 10_000, 1)
    assert words in seen["problem"][0] and seen["problem"][1] == ""


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["emotion,pixels,Usage", f"7,{spelt(FACES[0])},Training"], "line 2: emotion '7' is no number from 0 to 6"),
        (["emotion,pixels,Usage", "x,1,Training"], "line 2: emotion 'x'"),
        (["emotion,pixels,Usage", "0,1,Test"], "line 2: usage 'Test' is none of Training, PublicTest, PrivateTest"),
        (["emotion,pixels,Usage", "0,1"], "line 2: 2 values for 3 columns"),
        (["emotion,pixels", "0,1"], "there is no column 'usage'"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, lines: list[str], words: str) -> None:
    write(tmp_path / "fer2013.csv", lines)
    with pytest.raises(DataError, match=words):
        reader(tmp_path).samples()


def test_neither_form_and_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is neither fer2013.csv nor train/<class>/"):
        reader(tmp_path)
    write(tmp_path / "fer2013.csv", rows())
    in_folders(tmp_path)
    with pytest.raises(DataError, match=r"there are both fer2013.csv and train/<class>/"):
        reader(tmp_path)


def test_a_reader_is_sent_to_workers_without_its_data(tmp_path: Path) -> None:
    write(tmp_path / "fer2013.csv", rows())
    found = reader(tmp_path)
    found.samples()
    assert len(pickle.dumps(found)) < 1000


def test_a_table_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    write(tmp_path / "fer2013.csv", rows())
    found = reader(tmp_path)
    assert len(found.samples()) == 7
    write(tmp_path / "fer2013.csv", rows()[:3])
    assert len(found.samples()) == 2
