"""What has arrived of a download so far, kept beside the data until it is whole."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from imagewright.errors import BrokenFileError
from imagewright.fetch.progress import byte_bar
from imagewright.fetch.transfer import CHUNK
from imagewright.files import read_json, write_json


class Partial:
    """The beginning of a file, on the disk: `data/raw/.<data>.<12 digits of the SHA-256>.download/`.

    Attributes:
        path: the bytes.
        size: how many there are.
        version: the version of the file that they are of; None where a transfer can only start anew.
        arrived: how many came in this run.
    """

    def __init__(self, raw: Path, sha256: str) -> None:
        self.folder = raw.parent / f".{raw.name}.{sha256[:12]}.download"
        self.path = self.folder / "archive"
        self.size, self.arrived = 0, 0
        self.version: str | None = None
        self._origin = self.folder / "origin.json"
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The SHA-256 of all bytes that are there."""
        return self._digest.hexdigest()

    def recall(self, still_ours: Callable[[], None]) -> None:
        """Read what an earlier run has left here.

        Args:
            still_ours: called at every step; see `imagewright.fetch.claim.claimed`.
        """
        if not self.path.is_file():
            return
        with self.path.open("rb") as file, byte_bar("check", self.path.stat().st_size) as bar:
            while chunk := file.read(CHUNK):
                still_ours()
                self._digest.update(chunk)
                self.size += len(chunk)
                bar.update(len(chunk))
        self.version = self._recorded()

    def restart(self, version: str | None) -> None:
        """Throw the bytes away and begin with a file of this version."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # First no bytes, then the new version: a process that is killed in between leaves nothing to go on from.
        self.path.write_bytes(b"")
        write_json(self._origin, {"version": version})
        self.size, self.version, self._digest = 0, version, hashlib.sha256()

    def append(self, chunk: bytes) -> None:
        """Add what has come."""
        with self.path.open("ab") as file:
            file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)
        self.arrived += len(chunk)

    def discard(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _recorded(self) -> str | None:
        # Not the address: a signed one is new every day, and another server has another version.
        try:
            return read_json(self._origin)["version"] or None
        except (OSError, BrokenFileError, LookupError, TypeError):
            return None


def forget_downloads(raw: Path, but: Path | None = None) -> None:
    """Remove what downloads for `raw` have left: of other checksums, or of a source that is no archive any more.

    Args:
        raw: `data/raw/<data>`.
        but: the folder to keep.
    """
    # Twelve digits and no more: `.a.*.download` would also be what another job downloads for `a.b`.
    for left_over in raw.parent.glob(f".{raw.name}.{'[0-9a-f]' * 12}.download"):
        if left_over != but:
            shutil.rmtree(left_over, ignore_errors=True)
