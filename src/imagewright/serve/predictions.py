"""The log of predictions: one JSON line each, written in the background, to a folder or a bucket."""

import base64
import json
import os
import queue
import secrets
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from imagewright.errors import ServeError

ROTATE_LINES = 1000
ROTATE_S = 60.0
RETRY_S = 2.0
FLUSH_S = 0.5


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


class PredictionLog:
    """Appends records; a request never waits for it, and `close` writes all that was appended.

    In a folder, lines are appended as they come. In a bucket, an object is written for each thousand lines, or each
    minute. Files are named by their time and a random number, so that several servers can share a place.

    Args:
        place: a folder, or `gs://bucket/folder`.
        images: whether the image is kept with its record.

    Raises:
        ServeError: nothing can be written there.
    """

    def __init__(self, place: str, images: bool) -> None:
        self._images = images
        try:
            self._place: _Place = _Bucket(place) if "://" in place else _Folder(Path(place))
            # A server that could not keep its promise does not start.
            probe = f".writable-{secrets.token_hex(4)}"
            self._place.write(probe, b"")
            self._place.remove(probe)
        except Exception as error:  # each file system raises its own
            raise ServeError(f"{place}: predictions cannot be logged there ({error})", "see to its rights") from error
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="predictions", daemon=True)
        self._writer.start()

    def append(self, record: dict[str, Any], image: bytes | None = None) -> None:
        """Keep a record; returns at once.

        Args:
            record: any JSON value.
            image: the file as it came, which is kept only where that was switched on.
        """
        kept = {"image": base64.b64encode(image).decode()} if self._images and image is not None else {}
        self._queue.put(record | kept)

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
        over, lines, written, name, started = False, list[bytes](), 0, _name(), time.monotonic()
        while not over:
            try:
                record = self._queue.get(timeout=FLUSH_S)
                over = record is None
                if record is not None:
                    lines.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
            except queue.Empty:
                pass
            full = len(lines) >= ROTATE_LINES or time.monotonic() - started >= ROTATE_S
            if written < len(lines) and (full or over or (self._place.appends and self._queue.empty())):
                name = self._write(name, b"".join(lines[written:]))
                written = len(lines)
            if full:
                lines, written, name, started = [], 0, _name(), time.monotonic()

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
