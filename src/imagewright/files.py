"""Files that are whole or absent: write aside, then rename. And which files there are below a folder."""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagewright.errors import BrokenFileError, DataError, SupersededError, first_line


def walk_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in no order; also behind links to folders, but not around in a circle.

    All who list raw data do it by this, so that what is trained on is what is watched for changes.

    Raises:
        DataError: a name is not UTF-8, so that no listing could hold it.
    """
    above: dict[Path, frozenset[tuple[int, int]]] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        status = here.stat()
        known, mark = above.pop(here, frozenset()), (status.st_dev, status.st_ino)
        if mark in known:
            folders.clear()
            continue
        for name in (*folders, *names):
            if not is_utf8(name):
                raise DataError(f"{str(here / name)!r}: the name is not UTF-8", "rename it")
        above |= {here / name: known | {mark} for name in folders}
        yield from (path for name in names if (path := here / name).is_file())


def is_utf8(name: str) -> bool:
    """Whether a name from the disk or an archive is text: Python reads other bytes as what cannot be written again."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """The SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_text_if_changed(path: Path, text: str) -> bool:
    """Write `text` unless the file already holds it, so that its time says when its content last changed.

    Returns:
        True if the file was written.
    """
    if path.is_file() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    aside.write_text(text)
    aside.replace(path)
    return True


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value in one stable form: sorted keys, two spaces, a final newline."""
    write_text_if_changed(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        BrokenFileError: it is none.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise BrokenFileError(
            f"{path}: it is broken, no JSON ({first_line(error)})",
            "delete it: snakemake makes it again; or bring it back with imagewright pull",
        ) from error


def try_lock(descriptor: int) -> bool:
    """Whether the lock on an open file is ours now; the system releases it when the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a folder to write in; when the block ends well, move what is in it to `out`.

    A job that dies leaves nothing in `out`. A job that was orphaned (its Snakemake was killed, and a new run has
    started the same job) finds that it no longer owns the outputs and throws its work away: the one who started
    last is the owner. Files move one by one into `out`, so that the files of a stage and `out` itself stay what
    Snakemake expects; nothing else that lies in `out` is touched.

    Args:
        out: the folder that the stage's outputs belong in; made if missing.

    Raises:
        SupersededError: a newer run owns the outputs.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    owner = out.parent / f".{out.name}.owner.partial"
    work = out.parent / f".{out.name}.{token}.partial"
    with _locked(out.parent):
        # As many letters as a token has: `.a.*.partial` would also be what another job fills for `a.b`.
        for left_over in out.parent.glob(f".{out.name}.{'?' * len(token)}.partial"):
            shutil.rmtree(left_over, ignore_errors=True)
        owner.write_text(token)
        work.mkdir()
    try:
        try:
            yield work
        except Exception:
            # A newer run removes the older one's folder, on which whatever was writing there stumbles.
            _check_owner(owner, token, out)
            raise
        with _locked(out.parent):
            _check_owner(owner, token, out)
            for path in sorted(path for path in work.rglob("*") if path.is_file()):
                target = out / path.relative_to(work)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if owner.is_file() and owner.read_text() == token:
            owner.unlink()


def _check_owner(owner: Path, token: str, out: Path) -> None:
    if not owner.is_file() or owner.read_text() != token:
        raise SupersededError(
            f"{out}: a newer run has taken over, so what this one made was thrown away",
            "nothing to do; if no other run is on, start the workflow again",
        ) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder; the system releases it when the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
