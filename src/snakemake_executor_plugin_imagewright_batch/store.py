"""Files on their way between a person's machine and the VMs: in a bucket, each under the hash of its content.

What a job reads is there already where an earlier job read or wrote it. Such an object is never changed, so two people
and a hundred jobs can share a bucket; what arrives is checked against its hash before it is put in place.
"""

import base64
import hashlib
import json
import secrets
import tarfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.cloud import storage
from google_crc32c import Checksum
from requests.exceptions import RequestException

TRANSFERS = 8
BLOCK = 1 << 20
RAW = "data/raw/"
Listing = dict[str, str]
"""Paths from the project's folder, with the SHA-256 of what is there."""


class Damaged(Exception):
    """What arrived is not what was sent."""


PROBLEMS = (Damaged, GoogleAPICallError, RetryError, RequestException, OSError)
"""What may go wrong on the way."""


class Store:
    """A folder in a bucket.

    Args:
        url: `gs://bucket` or `gs://bucket/folder`.

    Raises:
        ValueError: `url` is something else.
    """

    def __init__(self, url: str) -> None:
        scheme, _, path = url.partition("://")
        name, _, folder = path.strip("/").partition("/")
        if scheme != "gs" or not name:
            raise ValueError(f"{url}: not an address as gs://bucket or gs://bucket/folder")
        self.url = f"gs://{path.strip('/')}"
        self.bucket = storage.Client().bucket(name)
        self.folder = f"{folder}/" if folder else ""
        self._known: dict[tuple[str, int, int], str] = {}
        self._there: set[str] = set()

    def blob(self, name: str) -> storage.Blob:
        """An object of this folder."""
        return self.bucket.blob(f"{self.folder}{name}")

    def write(self, name: str, value: Any) -> None:
        """Write a JSON value."""
        self.blob(name).upload_from_string(json.dumps(value, sort_keys=True), "application/json")

    def read(self, name: str) -> Any:
        """Read a JSON value; None where there is none."""
        blob = self.blob(name)
        return json.loads(blob.download_as_bytes()) if blob.exists() else None

    def put(self, root: Path, paths: Iterable[str]) -> Listing:
        """Send files that are not in the bucket yet.

        Args:
            root: the project's folder.
            paths: the files, from there.
        """

        def put(path: str) -> tuple[str, str]:
            digest = self._sha256(root / path)
            name = f"objects/{digest}"
            if name not in self._there:
                blob = self.bucket.get_blob(f"{self.folder}{name}")
                # An object that was damaged is replaced: Google knows the checksum of what it has.
                if blob is None or blob.crc32c != _crc32c(root / path):
                    self.blob(name).upload_from_filename(root / path)
                self._there.add(name)
            return path, digest

        return dict(_side_by_side(put, sorted(set(paths))))

    def get(self, root: Path, listing: Mapping[str, str]) -> None:
        """Bring files: each aside first, checked, then put in place.

        Raises:
            Damaged: one of them is not what its hash says.
        """

        def get(item: tuple[str, str]) -> None:
            path, digest = item
            self._bring(self.blob(f"objects/{digest}"), root / path, digest)

        _side_by_side(get, sorted(listing.items()))

    def put_raw(self, root: Path, manifest: str, tell: Callable[[str], None]) -> None:
        """Send the raw images that a manifest lists, as one archive: there may be many, and small ones.

        Args:
            root: the project's folder.
            manifest: `data/raw/<data>.json`, which `fetch` made; its images are in `data/raw/<data>/`.
            tell: is told that it takes a while.
        """
        content = (root / manifest).read_bytes()
        files = json.loads(content)["files"]
        folder = root / manifest.removesuffix(".json")

        blob = self.blob(_raw_name(content))
        if blob.exists():
            return
        size = sum(about["bytes"] for about in files.values())
        tell(f"Sending the raw images of {folder.name} to {self.url}: {len(files)} files, {size / 1e6:.0f} MB")
        # Under another name until it is whole: an upload that broke off would leave a part of it.
        aside = self.blob(f"raw/.{secrets.token_hex(4)}.partial")
        with aside.open("wb") as stream, tarfile.open(fileobj=stream, mode="w|", dereference=True) as archive:
            for name in sorted(files):
                archive.add(folder / name, arcname=name)
        self.bucket.rename_blob(aside, blob.name)

    def get_raw(self, root: Path, manifest: str) -> None:
        """Bring the raw images that a manifest lists, each checked.

        Raises:
            Damaged: one of them is missing, or is not the one that is listed.
        """
        content = (root / manifest).read_bytes()
        expected = {name: about["sha256"] for name, about in json.loads(content)["files"].items()}
        folder = root / manifest.removesuffix(".json")
        with self.blob(_raw_name(content)).open("rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                found = archive.extractfile(member)
                if found is None or member.name not in expected:
                    raise Damaged(f"{folder / member.name} is not in {manifest}")
                image = found.read()
                if hashlib.sha256(image).hexdigest() != expected.pop(member.name):
                    raise Damaged(f"{folder / member.name} is not the file that {manifest} lists")
                (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / member.name).write_bytes(image)
        if expected:
            raise Damaged(f"{len(expected)} files of {manifest} did not arrive, {min(expected)} among them")

    def keep(self, name: str, path: Path) -> None:
        """Put a file under a name of its own, in place of any that is there."""
        self.blob(name).upload_from_filename(path)

    def bring_kept(self, prefix: str, folder: Path) -> None:
        """Put in a folder what was kept under names that start like this."""
        for blob in self._kept(prefix):
            self._bring(blob, folder / blob.name.removeprefix(f"{self.folder}{prefix}"))

    def forget(self, prefix: str) -> None:
        """Delete what was kept under names that start like this."""
        for blob in self._kept(prefix):
            blob.delete()

    def _kept(self, prefix: str) -> list[storage.Blob]:
        return list(self.bucket.list_blobs(prefix=f"{self.folder}{prefix}"))

    def _bring(self, blob: storage.Blob, target: Path, digest: str | None = None) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        try:
            blob.download_to_filename(aside)
            if digest and self._sha256(aside) != digest:
                address = f"gs://{self.bucket.name}/{blob.name}"
                remedy = f"remove it, and it is sent again: gcloud storage rm {address}"
                raise Damaged(f"{target.name}: {address} is damaged\n  {remedy}")
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def _sha256(self, path: Path) -> str:
        """The hash of a file, remembered: a hundred trials read the same tensors."""
        about = path.stat()
        key = (str(path), about.st_mtime_ns, about.st_size)
        if key not in self._known:
            with path.open("rb") as file:
                self._known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._known[key]


def _crc32c(path: Path) -> str:
    checksum = Checksum()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def _raw_name(manifest: bytes) -> str:
    return f"raw/{hashlib.sha256(manifest).hexdigest()}.tar"


def _side_by_side(work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(TRANSFERS) as pool:
        return list(pool.map(work, items))
