"""Archives: what is not what it says, or would write where it should not, leaves the disk as it was."""

import hashlib
import io
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from imagewright.config.data import ArchiveSource, FetchSection
from imagewright.errors import SourceError
from imagewright.fetch import fetch
from imagewright.fetch.archive import fetch_archive as bring
from imagewright.fetch.placing import placed
from imagewright.files import read_json

FILES = {"cat/1.png": b"a cat", "cat/2.png": b"another", "dog/1.png": b"a dog"}
NOISE = np.random.default_rng(0).bytes(200_000)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], *members: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return buffer.getvalue()


def special(kind: bytes, name: str = "cat/9.png", target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zipped_link(name: str, target: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat/1.png", b"a cat")
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o120777 << 16
        archive.writestr(info, target)
    return buffer.getvalue()


def source(content: bytes, url: str, sha256: str | None = None, max_gb: float = 1.0) -> ArchiveSource:
    return ArchiveSource(kind="archive", url=url, sha256=sha256 or hashlib.sha256(content).hexdigest(), max_gb=max_gb)


def local(folder: Path, content: bytes, max_gb: float = 1.0) -> ArchiveSource:
    (folder / "archive").write_bytes(content)
    return source(content, f"file://{folder / 'archive'}", max_gb=max_gb)


def fetch_archive(source: ArchiveSource, raw: Path) -> None:
    bring(source, raw, lambda: None)


def found(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder data/raw in which an earlier fetch has left its files."""
    folder = tmp_path / "data" / "raw" / "pets"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "old.png").write_bytes(b"old")
    return folder


def check_refused(source: ArchiveSource, raw: Path, words: str) -> None:
    """Stopped with these words, the old files as they were, and nothing beside them."""
    with pytest.raises(SourceError, match=words) as caught:
        fetch_archive(source, raw)
    assert len(str(caught.value).splitlines()) == 2
    assert found(raw) == {"cat/old.png": b"old"}
    assert [path.name for path in raw.parent.iterdir()] == ["pets"]
    assert sorted(path.name for path in raw.parents[2].iterdir() if path.name != "archive") == ["data"]


TARS = [tarred(FILES, mode=f"w:{end}") for end in ("", "gz", "xz", "bz2")]


@pytest.mark.parametrize(
    "content",
    [zipped(FILES), zipped(FILES, zipfile.ZIP_STORED), *TARS],
    ids=["zip", "stored", "tar", "tar.gz", "tar.xz", "tar.bz2"],
)
def test_an_archive_replaces_the_folder(tmp_path: Path, raw: Path, content: bytes) -> None:
    fetch_archive(local(tmp_path, content), raw)
    assert found(raw) == FILES
    assert [path.name for path in raw.parent.iterdir()] == ["pets"]


def test_folders_and_windows_paths(tmp_path: Path, raw: Path) -> None:
    fetch_archive(local(tmp_path, zipped({"cat/": b"", "cat\\1.png": b"a cat"})), raw)
    assert found(raw) == {"cat/1.png": b"a cat"}


def test_the_manifest_lists_every_file(tmp_path: Path, raw: Path) -> None:
    manifest = raw.with_suffix(".json")
    fetch(FetchSection(source=local(tmp_path, zipped(FILES))), raw, manifest)
    assert read_json(manifest)["files"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in FILES.items()
    }


def test_a_failed_fetch_writes_no_manifest(tmp_path: Path, raw: Path) -> None:
    manifest = raw.with_suffix(".json")
    with pytest.raises(SourceError):
        fetch(FetchSection(source=local(tmp_path, b"no archive")), raw, manifest)
    assert not manifest.exists()


@pytest.mark.parametrize(
    "name", ["../evil.png", "cat/../../evil.png", "/tmp/evil-imagewright.png", "..\\evil.png", "C:\\evil.png"]
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_path_that_leaves_the_folder(tmp_path: Path, raw: Path, pack: object, name: str) -> None:
    # Zip slip: an archive from the web could overwrite ~/.ssh/authorized_keys.
    content = pack(FILES | {name: b"evil"})  # type: ignore[operator]
    check_refused(local(tmp_path, content), raw, "leaves the folder")
    assert not list(tmp_path.rglob("*evil*")) and not Path("/tmp/evil-imagewright.png").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("cat/12:30.png", "a colon in the name 'cat/12:30.png'"), ("cat/caf\udce9.png", "caf.udce9.png' is not UTF-8")],
)
def test_a_name_that_not_every_disk_takes(tmp_path: Path, raw: Path, name: str, words: str) -> None:
    check_refused(local(tmp_path, tarred(FILES | {name: b"a cat"})), raw, words)


@pytest.mark.parametrize(
    "member",
    [
        special(tarfile.SYMTYPE, target="/etc/passwd"),
        special(tarfile.LNKTYPE, target="cat/1.png"),
        special(tarfile.CHRTYPE),
        special(tarfile.BLKTYPE),
        special(tarfile.FIFOTYPE),
    ],
    ids=["symlink", "hardlink", "character-device", "block-device", "pipe"],
)
def test_what_is_no_file_in_a_tar(tmp_path: Path, raw: Path, member: tarfile.TarInfo) -> None:
    check_refused(local(tmp_path, tarred(FILES, member)), raw, "'cat/9.png' is a link or a device")


def test_a_link_through_which_a_later_file_would_be_written(tmp_path: Path, raw: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(special(tarfile.SYMTYPE, "cat", str(tmp_path)))
        member = tarfile.TarInfo("cat/evil.png")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    check_refused(local(tmp_path, buffer.getvalue()), raw, "'cat' is a link")
    assert not list(tmp_path.rglob("evil*"))


def test_a_link_in_a_zip(tmp_path: Path, raw: Path) -> None:
    check_refused(local(tmp_path, zipped_link("cat/9.png", "/etc/passwd")), raw, "'cat/9.png' is a link")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_that_unpacks_to_more_than_the_limit(tmp_path: Path, raw: Path, pack: object) -> None:
    # A few kilobytes that would fill the disk.
    content = pack({f"cat/{number}.png": bytes(1 << 20) for number in range(4)})  # type: ignore[operator]
    assert len(content) < 50_000
    check_refused(local(tmp_path, content, max_gb=3e-3), raw, "unpacks to more than 0.003 GB")


def test_a_zip_that_lies_about_its_size(tmp_path: Path, raw: Path) -> None:
    # The header says 10 bytes: who trusts it would let 2 MB pass, or unpack a cut file.
    content = bytearray(zipped({"cat/1.png": bytes(2_000_000)}))
    size = struct.pack("<I", 2_000_000)
    assert content.count(size) == 2
    content = content.replace(size, struct.pack("<I", 10))
    check_refused(local(tmp_path, bytes(content), max_gb=1e-3), raw, "unpacks to more|the archive is broken")


def test_a_download_larger_than_the_limit(tmp_path: Path, raw: Path) -> None:
    check_refused(local(tmp_path, zipped({"cat/1.png": NOISE}), max_gb=1e-4), raw, "larger than 0.0001 GB")


def test_another_checksum(tmp_path: Path, raw: Path) -> None:
    content = zipped(FILES)
    wrong = local(tmp_path, content).model_copy(update={"sha256": "0" * 64})
    check_refused(wrong, raw, f"its sha256 is {hashlib.sha256(content).hexdigest()}, not 0000")


def damaged(content: bytes, start: int, length: int = 20) -> bytes:
    return content[:start] + b"\xff" * length + content[start + length :]


TEXT = {"cat/1.png": b"".join(b"%d " % number for number in range(20_000))}


@pytest.mark.parametrize(
    "content",
    [
        zipped({"cat/1.png": NOISE})[:100_000],
        damaged(zipped(TEXT), 60),
        damaged(zipped({"cat/1.png": NOISE}, zipfile.ZIP_STORED), 60),
        tarred({"cat/1.png": NOISE})[:100_000],
        damaged(tarred(TEXT), 30, 100),
        damaged(tarred(TEXT, mode="w:xz"), 400),
        damaged(tarred(TEXT, mode="w:bz2"), 400),
        zipped(FILES | {"cat": b"a file where a folder is"}),
        b"<html>Please log in</html>",
        b"",
    ],
    ids=["cut-zip", "deflate", "crc", "cut-tar", "gzip", "xz", "bz2", "file-and-folder", "page", "empty"],
)
def test_a_broken_archive(tmp_path: Path, raw: Path, content: bytes) -> None:
    # Whoever took the checksum of a broken download gets here.
    check_refused(local(tmp_path, content), raw, "the archive is broken|neither a zip nor a tar")


PACKED = zipped({"cat/1.png": NOISE})


class Server(BaseHTTPRequestHandler):
    """Serves an archive whole or breaks off half-way, with and without a declared length."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        if self.path == "/missing":
            self.send_error(404)
            return
        part = PACKED if self.path == "/whole" else PACKED[: len(PACKED) // 2]
        self.send_response(200)
        if self.path == "/half-chunked":
            self.send_header("Transfer-Encoding", "chunked")
            part = b"%x\r\n" % len(PACKED) + part
        elif self.path != "/half-without-length":
            self.send_header("Content-Length", str(len(PACKED)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download(raw: Path, address: str) -> None:
    fetch_archive(source(PACKED, f"{address}/whole"), raw)
    assert found(raw) == {"cat/1.png": NOISE}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("half", f"the transfer broke off at {len(PACKED) // 2} of {len(PACKED)} bytes"),
        ("half-chunked", "IncompleteRead"),
        ("half-without-length", "its sha256 is"),
        ("missing", "missing: Not Found"),
        ("a path with spaces", "control characters"),
    ],
)
def test_a_download_that_fails(raw: Path, address: str, path: str, words: str) -> None:
    check_refused(source(PACKED, f"{address}/{path}"), raw, words)


def test_nobody_at_the_address(raw: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        port = server.server_port
    check_refused(source(PACKED, f"http://127.0.0.1:{port}/whole"), raw, "refused")


def test_no_such_file(tmp_path: Path, raw: Path) -> None:
    check_refused(source(PACKED, f"file://{tmp_path}/nothing.zip"), raw, "nothing.zip")


def test_the_rest_of_a_killed_fetch_is_swept_away(tmp_path: Path, raw: Path) -> None:
    # Fifty gigabytes of an aborted download would stay for ever.
    for name in (".pets.0a1b2c3d.partial", ".pets.0123456789ab.download"):
        (raw.parent / name).mkdir()
        (raw.parent / name / "archive").write_bytes(b"half")
    fetch_archive(local(tmp_path, zipped(FILES)), raw)
    assert [path.name for path in raw.parent.iterdir()] == ["pets"]


def test_data_whose_name_begins_like_anothers(tmp_path: Path) -> None:
    # Two fetches side by side: one must not take the other's work for the rest of its own.
    with placed(tmp_path / "pets.v2") as first:
        (first / "1.png").write_bytes(b"v2")
        with placed(tmp_path / "pets") as second:
            (second / "1.png").write_bytes(b"v1")
    assert found(tmp_path) == {"pets.v2/1.png": b"v2", "pets/1.png": b"v1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets", "pets.v2"]


def test_a_linked_folder_is_unlinked_not_emptied(tmp_path: Path) -> None:
    # Before, the source was a folder of the user's own: those images are not ours to delete.
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "1.png").write_bytes(b"mine")
    raw = tmp_path / "data" / "raw" / "pets"
    raw.parent.mkdir(parents=True)
    raw.symlink_to(mine, target_is_directory=True)
    fetch_archive(local(tmp_path, zipped(FILES)), raw)
    assert found(raw) == FILES and not raw.is_symlink()
    assert found(mine) == {"1.png": b"mine"}
