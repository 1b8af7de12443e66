"""A zip or tar file from the web or from the disk: checked against its SHA-256, then unpacked safely."""

import hashlib
import http.client
import lzma
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Never

from tqdm import tqdm

from imagewright.config.data import ArchiveSource
from imagewright.errors import SourceError
from imagewright.fetch.placing import placed

CHUNK = 1 << 20
TIMEOUT_S = 60
BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
    EOFError, OSError, NotImplementedError, RuntimeError,
)  # fmt: skip


def fetch_archive(source: ArchiveSource, raw: Path) -> None:
    """Download, verify and unpack an archive into `raw`.

    Args:
        source: address, SHA-256 and the largest size, both packed and unpacked, in GB.
        raw: `data/raw/<data>`, replaced as a whole.

    Raises:
        SourceError: unreachable, larger than the limit, another checksum, no zip or tar, or an unsafe member.
    """
    limit = int(source.max_gb * 1e9)
    raw.parent.mkdir(parents=True, exist_ok=True)
    # What a killed download left behind; the name is that of `tempfile`, with eight letters of its own.
    for left_over in raw.parent.glob(f".{raw.name}.????????.download"):
        shutil.rmtree(left_over)
    with tempfile.TemporaryDirectory(dir=raw.parent, prefix=f".{raw.name}.", suffix=".download") as folder:
        archive = Path(folder) / "archive"
        found = _download(source.url, archive, limit)
        if found != source.sha256:
            raise SourceError(
                f"{source.url}: its sha256 is {found}, not {source.sha256}",
                "check the address; if the new content is wanted, correct source.sha256 in config/data/",
            )
        with placed(raw) as aside:
            _unpack(archive, aside, limit, source.url)


def _download(url: str, target: Path, limit: int) -> str:
    """Copy what `url` holds to `target` and return its SHA-256."""
    digest, loaded = hashlib.sha256(), 0
    try:
        # The config schema admits https, http and file addresses only.
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, target.open("wb") as file:  # noqa: S310
            total = int(response.headers.get("Content-Length") or 0) or None
            with _bar("download", total) as bar:
                while chunk := response.read(CHUNK):
                    loaded += len(chunk)
                    bar.update(len(chunk))
                    if loaded > limit:
                        raise SourceError(
                            f"{url}: larger than {limit / 1e9:g} GB", "raise source.max_gb if that is right"
                        )
                    digest.update(chunk)
                    file.write(chunk)
        if total is not None and loaded != total:
            raise SourceError(f"{url}: the transfer broke off at {loaded} of {total} bytes", "try again")
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise SourceError(f"{url}: {reason}", "check the address and the network, then try again") from error
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path, limit: int, url: str) -> None:
    total = 0
    try:
        with _bar("unpack", None) as bar:
            for name, stream in _members(archive, url):
                target = folder / _safe(name, url)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    while chunk := stream.read(CHUNK):
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
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name or not path.parts:
        raise SourceError(
            f"{url}: the path {name!r} leaves the folder", "do not use this archive; nothing was unpacked"
        )
    return path


def _bar(what: str, total: int | None) -> "tqdm[Never]":
    return tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=None, file=sys.stderr)
