"""The log of predictions: one JSON line each, written in the background, to a folder or a bucket."""

import base64
import json
import os
import queue
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from imagewright.errors import ServeError

ROTATE_LINES = 1000
ROTATE_S = 60.0
ROTATE_BYTES = 32_000_000
RETRY_S = 2.0
FLUSH_S = 0.5
RECORD_BYTES = 1000


class _Place(Protocol):
    appends: bool

    def write(self, name: str, content: bytes) -> None: ...

    def remove(self, name: str) -> None: ...


class _Folder:
    """Files that their owner alone can read."""

    appends = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, content: bytes) -> None:
        file = self._path / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        before = os.fstat(descriptor).st_size
        try:
            while content:
                content = content[os.write(descriptor, content) :]
        except OSError:
            # All of it is written again later: no half of a line may stay, and no line twice.
            os.ftruncate(descriptor, before)
            raise
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        (self._path / name).unlink()


class _Bucket:
    """Objects, which cannot be appended to; who may read them is the bucket's business."""

    appends = False

    def __init__(self, url: str) -> None:
        import fsspec

        self._files, self._folder = fsspec.url_to_fs(url)

    def write(self, name: str, content: bytes) -> None:
        self._files.pipe_file(f"{self._folder}/{name}", content)

    def remove(self, name: str) -> None:
        self._files.rm_file(f"{self._folder}/{name}")


@dataclass(frozen=True)
class _Record:
    said: dict[str, Any]
    image: bytes | None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return RECORD_BYTES + len(self.image or b"")

    def line(self) -> bytes:
        kept = {} if self.image is None else {"image": base64.b64encode(self.image).decode()}
        return json.dumps(self.said | kept, separators=(",", ":")).encode() + b"\n"


class PredictionLog:
    """Appends records; a request never waits for it, and `close` writes all that was appended.

    In a folder, lines are appended as they come. In a bucket, an object is written for each thousand lines, each 32 MB,
    or each minute. Files are named by their time and a random number, so that several servers can share a place.

    Args:
        place: a folder, or `gs://bucket/folder`.
        images: whether the image is kept with its record.
        most: bytes of records that may wait to be written; beyond, the log is `full`.

    Raises:
        ServeError: nothing can be written there.
    """

    def __init__(self, place: str, images: bool, most: float) -> None:
        self._images, self._most = images, most
        try:
            self._place: _Place = _Bucket(place) if "://" in place else _Folder(Path(place))
            # A server that could not keep its promise does not start.
            probe = f".writable-{secrets.token_hex(4)}"
            self._place.write(probe, b"")
            self._place.remove(probe)
        except Exception as error:  # each file system raises its own
            raise ServeError(f"{place}: predictions cannot be logged there ({error})", "see to its rights") from error
        self._queue: queue.SimpleQueue[_Record | None] = queue.SimpleQueue()
        self._lock, self._held = threading.Lock(), 0
        self._writer = threading.Thread(target=self._run, name="predictions", daemon=True)
        self._writer.start()

    def append(self, record: dict[str, Any], image: bytes | None = None) -> None:
        """Keep a record; returns at once.

        Args:
            record: any JSON value.
            image: the file as it came, which is kept only where that was switched on.
        """
        kept = _Record(record, image if self._images else None)
        self._hold(kept.size)
        self._queue.put(kept)

    @property
    def full(self) -> bool:
        """Whether so much waits that nothing more should be accepted: the place takes nothing for a while."""
        return self._held >= self._most

    def close(self, patience_s: float) -> bool:
        """Write what was appended, and end.

        Args:
            patience_s: how long it is tried where the place takes nothing.

        Returns:
            Whether all is written.
        """
        self._queue.put(None)
        self._writer.join(patience_s)
        return not self._writer.is_alive()

    def _run(self) -> None:
        over, lines, size, in_file, name, started = False, list[bytes](), 0, 0, _name(), time.monotonic()
        while not over:
            try:
                record = self._queue.get(timeout=FLUSH_S)
                over = record is None
                if record is not None:
                    lines.append(record.line())
                    size += record.size
            except queue.Empty:
                pass
            full = in_file + len(lines) >= ROTATE_LINES or time.monotonic() - started >= ROTATE_S
            full = full or size >= min(ROTATE_BYTES, self._most / 2)
            if lines and (full or over or (self._place.appends and self._queue.empty())):
                name = self._write(name, b"".join(lines))
                self._hold(-size)
                lines, size, in_file = [], 0, in_file + len(lines)
            if full:
                in_file, name, started = 0, _name(), time.monotonic()

    def _hold(self, size: int) -> None:
        with self._lock:
            self._held += size

    def _write(self, name: str, content: bytes) -> str:
        """Write, and try again until it is done: what was accepted is not thrown away. Gives the file's name."""
        while True:
            try:
                self._place.write(name, content)
                return name
            except Exception as error:  # each file system raises its own
                report = {"level": "error", "message": f"predictions cannot be logged: {error}"}
                sys.stderr.write(json.dumps(report) + "\n")
                # The file may be gone or damaged; these lines go to another one.
                name = _name()
                time.sleep(RETRY_S)


def _name() -> str:
    now = datetime.now(UTC)
    return f"{now:%Y-%m-%d}/{now:%H%M%S}-{secrets.token_hex(4)}.jsonl"
