"""The same answers without HTTP, for files: a table, JSON lines, masks or overlays."""

import csv
import glob
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from imagewright.errors import DataError, ServeError, first_line
from imagewright.imaging import load_image
from imagewright.serve import answers
from imagewright.serve.batching import Answer
from imagewright.serve.model import Model, Served

BATCH = 16
FORMS = ("csv", "json", "png", "overlay")


@dataclass(frozen=True)
class Told:
    """How it went.

    Attributes:
        done: how many files have an answer.
        problems: the others, with what is wrong with each.
    """

    done: int
    problems: dict[str, str]


def find_files(paths: Sequence[str]) -> list[Path]:
    """The pictures that are meant: files as they are, in folders what is called like a picture, patterns with `*`.

    Raises:
        ServeError: one of them is nothing, or there are no pictures.
    """
    Image.init()
    endings = {ending.lower() for ending in Image.registered_extensions()}
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        if path.is_file():
            found[path] = None
        elif path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in endings and file.is_file())
            found |= dict.fromkeys(sorted(inside))
        elif matches := sorted(glob.glob(given, recursive=True)):  # noqa: PTH207
            found |= {Path(match): None for match in matches if Path(match).is_file()}
        else:
            raise ServeError(f"{given}: there is no such file or folder", "check the name")
    if not found:
        raise ServeError(f"{', '.join(paths)}: there are no pictures", "name pictures, or a folder that has some")
    return list(found)


def predict_files(
    served: Served, files: Sequence[Path], form: str, out: Path | None, threads: int, threshold: float | None
) -> Told:
    """Answer for files; one that is no picture is told at the end, and the rest is done.

    Args:
        served: the model.
        files: the pictures.
        form: "csv" or "json" (a line a picture); of masks also "png" (class indices) or "overlay".
        out: a file, or the folder of masks; by default a table goes to standard output.
        threads: CPU threads.
        threshold: labels below it are unsure.

    Raises:
        ServeError: the form does not fit the model, a picture would be overwritten, or nothing can be written.
    """
    pictures = form in ("png", "overlay")
    if pictures and served.task == "classification":
        raise ServeError(f"this model gives labels, and no {form}", "take --as csv or --as json")
    if pictures and out is None:
        raise ServeError(f"--as {form} needs a folder", "name one: --out masks/")
    model, problems, done = Model(served, threads), dict[str, str](), 0
    with tqdm(total=len(files), desc="predict", unit="img", disable=None) as bar, _written(form, out, files) as write:
        for start in range(0, len(files), BATCH):
            part, images = files[start : start + BATCH], dict[Path, Any]()
            for file in part:
                try:
                    images[file] = load_image(file.read_bytes(), served.input, served.max_pixels)
                except DataError as error:
                    problems[str(file)] = error.problem
                except OSError as error:
                    problems[str(file)] = first_line(error)
            if images:
                probabilities = model.answer(np.stack(list(images.values())))
                for (file, image), found in zip(images.items(), probabilities, strict=True):
                    write(served, Answer(image, found), file, threshold)
                    done += 1
            bar.update(len(part))
    return Told(done, problems)


def output_names(files: Sequence[Path]) -> dict[Path, str]:
    """The name of each file's mask or overlay, unlike all others: of a.jpg it is a.png where nothing else is called a.

    Else it is a.jpg.png, or s-a.jpg.png with as many of its folders as tell it apart.
    """
    names, taken = dict[Path, str](), set[str]()

    def give(wanted: Mapping[Path, str]) -> None:
        # On some disks A.png and a.png are one file.
        often = Counter(name.casefold() for name in wanted.values())
        for file, name in wanted.items():
            if often[name.casefold()] == 1 and name.casefold() not in taken:
                names[file] = f"{name}.png"
                taken.add(name.casefold())

    give({file: file.stem for file in files})
    parts = {file: [part for part in file.parts if part != file.anchor] for file in files}
    for depth in range(1, max(map(len, parts.values()), default=0) + 1):
        give({file: "-".join(parts[file][-depth:]) for file in files if file not in names})
    # A folder's own hyphens may make two paths alike.
    for file in files:
        number = 2
        while file not in names:
            give({file: f"{'-'.join(parts[file])}-{number}"})
            number += 1
    return names


def _check_spares(files: Sequence[Path], outputs: set[Path]) -> None:
    """Stop if a picture that was given would be overwritten."""
    written = {output.resolve() for output in outputs}
    if lost := [file for file in files if file.resolve() in written]:
        raise ServeError(f"{lost[0]}: it would be overwritten by an answer", "name another folder: --out masks/")


@contextmanager
def _written(form: str, out: Path | None, files: Sequence[Path]) -> Iterator[Any]:
    """What writes an answer; a file is put in place when it is whole."""
    try:
        if form in ("png", "overlay"):
            assert out is not None
            names = output_names(files)
            _check_spares(files, {out / name for name in names.values()})
            out.mkdir(parents=True, exist_ok=True)
            yield _Pictures(out, form, names)
        elif out is None:
            yield _Lines(sys.stdout, form)
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            aside = out.with_name(f".{out.name}.partial")
            with aside.open("w", newline="") as stream:
                yield _Lines(stream, form)
            aside.replace(out)
    except OSError as error:
        # Who reads a table from the screen may stop reading.
        if out is None:
            raise
        raise ServeError(f"{out}: {first_line(error)}", "see to the space and the rights there") from error


class _Lines:
    def __init__(self, stream: TextIO, form: str) -> None:
        self._stream, self._form = stream, form
        self._table: csv.DictWriter[str] | None = None

    def __call__(self, served: Served, answer: Answer, file: Path, threshold: float | None) -> None:
        if served.task == "classification":
            told = answers.of_class(served, answer, str(file), answers.TOP, threshold)
            row = {name: told[name] for name in ("file", "label", "name", "confidence", "unsure")}
            row |= {f"p/{name}": value for name, value in told["probabilities"].items()}
        else:
            told = answers.of_mask(served, answer, str(file))
            row = {name: told[name] for name in ("file", "height", "width", "confidence")}
            row |= {f"area/{name}": value for name, value in told["areas"].items()}
        if self._form == "json":
            self._stream.write(json.dumps({"bundle": served.id, **told}) + "\n")
            return
        if self._table is None:
            self._table = csv.DictWriter(self._stream, ["bundle", *row])
            self._table.writeheader()
        self._table.writerow({"bundle": served.id, **row})


class _Pictures:
    def __init__(self, out: Path, form: str, names: Mapping[Path, str]) -> None:
        self._out, self._form, self._names = out, form, names

    def __call__(self, served: Served, answer: Answer, file: Path, threshold: float | None) -> None:
        content = answers.mask_png(answer) if self._form == "png" else answers.overlay_png(answer)
        name = self._names[file]
        aside = self._out / f".{name}.partial"
        aside.write_bytes(content)
        aside.replace(self._out / name)
