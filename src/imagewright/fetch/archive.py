"""A zip or tar file from elsewhere or from the disk: checked against its SHA-256, then unpacked safely."""

import errno
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from imagewright.config.data import ArchiveSource
from imagewright.errors import SourceError
from imagewright.fetch.download import download
from imagewright.fetch.partial import Partial, forget_downloads
from imagewright.fetch.placing import placed
from imagewright.fetch.progress import byte_bar
from imagewright.fetch.transfer import CHUNK
from imagewright.files import is_utf8

FULL = (errno.ENOSPC, errno.EDQUOT)
BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
    EOFError, OSError, NotImplementedError, RuntimeError,
)  # fmt: skip


def fetch_archive(source: ArchiveSource, raw: Path, still_ours: Callable[[], None]) -> None:
    """Download, verify and unpack an archive into `raw`.

    What a download that failed or was killed has brought stays beside `raw`, and the next call goes on from there.

    Args:
        source: address, SHA-256 and the largest size, both packed and unpacked, in GB.
        raw: `data/raw/<data>`, replaced as a whole.
        still_ours: called at every step; see `imagewright.fetch.claim.claimed`.

    Raises:
        SourceError: unreachable, refused, larger than the limit, another checksum, no zip or tar, an unsafe member,
            or a full disk.
        SupersededError: a newer fetch has taken over.
    """
    limit = int(source.max_gb * 1e9)
    partial = Partial(raw, source.sha256)
    forget_downloads(raw, but=partial.folder)
    try:
        download(source.url, source.sha256, limit, partial, still_ours)
        try:
            with placed(raw) as aside:
                _unpack(partial.path, aside, limit, source.url, still_ours)
                still_ours()
        except SourceError:
            # The checksum is right, so another download would bring the same.
            partial.discard()
            raise
    except OSError as error:
        raise SourceError(
            f"{error.filename or raw.parent}: {error.strerror or error}",
            "make room or correct the rights, then try again; what has come is kept",
        ) from error
    partial.discard()


def _unpack(archive: Path, folder: Path, limit: int, url: str, still_ours: Callable[[], None]) -> None:
    total = 0
    try:
        with byte_bar("unpack") as bar:
            for name, stream in _members(archive, url):
                target = folder / _safe(name, url)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    while chunk := stream.read(CHUNK):
                        still_ours()
                        total += len(chunk)
                        bar.update(len(chunk))
                        # Counted while it is written: what an archive says of its own sizes may be a lie.
                        if total > limit:
                            raise SourceError(
                                f"{url}: unpacks to more than {limit / 1e9:g} GB",
                                "raise source.max_gb if that is right",
                            )
                        file.write(chunk)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise SourceError(f"{url}: the archive is broken ({error})", "fetch it again from where it came") from error


def _members(archive: Path, url: str) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of a zip or tar; a link or a device is refused, a folder passed over."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                # The upper half of external_attr is the Unix mode where the archive was made on Unix.
                if (info.external_attr >> 16) & 0o170000 == 0o120000:
                    raise SourceError(f"{url}: {info.filename!r} is a link", "pack the archive again without links")
                if not info.is_dir():
                    with zipped.open(info) as stream:
                        yield info.filename, stream
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tarred:
            for member in tarred:
                if member.isdir():
                    continue
                content = tarred.extractfile(member) if member.isreg() else None
                if content is None:
                    raise SourceError(
                        f"{url}: {member.name!r} is a link or a device", "pack the archive again with files only"
                    )
                with content:
                    yield member.name, content
    else:
        raise SourceError(f"{url}: neither a zip nor a tar file", "check the address")


def _safe(name: str, url: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    absolute = path.is_absolute() or PureWindowsPath(name).is_absolute()
    if absolute or ".." in path.parts or "\0" in name or not path.parts:
        raise SourceError(
            f"{url}: the path {name!r} leaves the folder", "do not use this archive; nothing was unpacked"
        )
    # Windows reads it as a drive, and not every disk takes it.
    if ":" in name:
        raise SourceError(f"{url}: there is a colon in the name {name!r}", "rename it and pack the archive again")
    if not is_utf8(name):
        raise SourceError(f"{url}: the name {name!r} is not UTF-8", "rename it and pack the archive again")
    return path
