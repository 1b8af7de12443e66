"""One fetch at a time for each data set: who comes last goes on, who was there before stops."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imagewright.errors import SourceError, SupersededError
from imagewright.fetch.progress import say
from imagewright.files import try_lock

PATIENCE_S = 300.0
LOOK_S = 0.1


@contextmanager
def claimed(raw: Path) -> Iterator[Callable[[], None]]:
    """Be the only one that fetches into `raw` until the block ends.

    As in `imagewright.files.staged`, the one who started last is the owner. A job that was orphaned (its Snakemake
    was killed, and a new run has started the same job) finds out at its next step and stops; the newer one waits
    for that, then goes on from what the older one has downloaded. So no two of them ever write at once.

    Args:
        raw: `data/raw/<data>`.

    Yields:
        A function to call at every step. It raises SupersededError when a newer fetch waits.

    Raises:
        SourceError: the older fetch does not stop.
        SupersededError: a newer fetch came while this one waited.
    """
    raw.parent.mkdir(parents=True, exist_ok=True)
    path = raw.parent / f".{raw.name}.claim"
    token = secrets.token_hex(8)

    def still_ours() -> None:
        if not _holds(path, token):
            raise _superseded(raw)

    descriptor = _acquire(path, token, raw)
    try:
        still_ours()
        yield still_ours
    finally:
        # Gone before it is released: who waits for this very file then sees that it is no longer the claim.
        if _holds(path, token):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, token: str, raw: Path) -> int:
    """Write our token, so that the owner sees it, and wait until the owner has let go."""
    end, told = time.monotonic() + PATIENCE_S, False
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}", "correct the rights of this file or its folder") from error
        os.pwrite(descriptor, token.encode(), 0)
        while not try_lock(descriptor):
            if not told:
                say(f"another fetch of {raw} is on; waiting until it stops")
                told = True
            # Others may wait too, and the last of them goes on.
            if os.pread(descriptor, len(token), 0) != token.encode():
                os.close(descriptor)
                raise _superseded(raw)
            if time.monotonic() > end:
                os.close(descriptor)
                raise SourceError(
                    f"{raw}: another fetch of it still runs after {PATIENCE_S:g} s",
                    "wait until it has stopped, or end it; then try again",
                )
            time.sleep(LOOK_S)
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _superseded(raw: Path) -> SupersededError:
    return SupersededError(f"{raw}: a newer fetch has taken over", "nothing to do; what was downloaded is kept")


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still is the one at `path`, or was removed there by its owner."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holds(path: Path, token: str) -> bool:
    try:
        return path.read_text() == token
    except FileNotFoundError:
        return False
