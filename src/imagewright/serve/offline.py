"""The same answers without HTTP, for files: a table, JSON lines, masks or overlays."""

import csv
import glob
import json
import sys
from collections.abc import Iterator, Sequence
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
        ServeError: the form does not fit the model, or nothing can be written.
    """
    pictures = form in ("png", "overlay")
    if pictures and served.task == "classification":
        raise ServeError(f"this model gives labels, and no {form}", "take --as csv or --as json")
    if pictures and out is None:
        raise ServeError(f"--as {form} needs a folder", "name one: --out masks/")
    model, problems, done = Model(served, threads), dict[str, str](), 0
    with tqdm(total=len(files), desc="predict", unit="img", disable=None) as bar, _written(form, out) as write:
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


@contextmanager
def _written(form: str, out: Path | None) -> Iterator[Any]:
    """What writes an answer; a file is put in place when it is whole."""
    try:
        if form in ("png", "overlay"):
            assert out is not None
            out.mkdir(parents=True, exist_ok=True)
            yield _Pictures(out, form)
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
    def __init__(self, out: Path, form: str) -> None:
        self._out, self._form = out, form
        self._taken: set[str] = set()

    def __call__(self, served: Served, answer: Answer, file: Path, threshold: float | None) -> None:
        content = answers.mask_png(answer) if self._form == "png" else answers.overlay_png(answer)
        # Two folders may have a picture of the same name each.
        name = file.stem if file.stem not in self._taken else "-".join(file.with_suffix("").parts[-2:])
        if name in self._taken:
            name = "-".join(part for part in file.with_suffix("").parts if part != file.anchor)
        self._taken.add(name)
        aside = self._out / f".{name}.png.partial"
        aside.write_bytes(content)
        aside.replace(self._out / f"{name}.png")
