"""A download goes on from where it broke off, and what comes out is the file that was asked for, or nothing."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from file_server import FileServer, file_server

from imagewright.config.data import ArchiveSource, FetchSection, FolderSource
from imagewright.errors import SourceError, SupersededError
from imagewright.fetch import download as downloading
from imagewright.fetch import fetch
from imagewright.fetch.archive import fetch_archive
from imagewright.files import read_json, write_json

CHECKOUT = Path(__file__).parents[2]
MEBIBYTE = 1 << 20
PICTURE = np.random.default_rng(0).bytes(6 * MEBIBYTE)
PATIENCE_S = 60


def packed(picture: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat/1.png", picture)
    return buffer.getvalue()


PACKED = packed(PICTURE)
OTHER = packed(PICTURE[::-1])


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "PAUSES_S", (0, 0, 0, 0, 0))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "pets"


def section(server: FileServer, content: bytes = PACKED, max_gb: float = 1.0, url: str = "") -> FetchSection:
    digest = hashlib.sha256(content).hexdigest()
    return FetchSection(source=ArchiveSource(kind="archive", url=url or server.url, sha256=digest, max_gb=max_gb))


def fetched(server: FileServer, raw: Path, content: bytes = PACKED, **how: Any) -> None:
    fetch(section(server, content, **how), raw, raw.with_suffix(".json"))


def kept(raw: Path, content: bytes = PACKED) -> Path:
    """Where the bytes of an unfinished download lie."""
    return raw.parent / f".pets.{hashlib.sha256(content).hexdigest()[:12]}.download" / "archive"


def check_whole(raw: Path, picture: bytes = PICTURE) -> None:
    """The picture and the manifest, and nothing else: no partial file, no claim."""
    assert (raw / "cat" / "1.png").read_bytes() == picture
    assert sorted(path.name for path in raw.parent.iterdir()) == ["pets", "pets.json"]


def break_off(server: FileServer, raw: Path, at: int = 3 * MEBIBYTE, content: bytes = PACKED) -> None:
    """A fetch that ends with an error after `at` bytes; those are kept."""
    # The next attempt within the same run is refused for good.
    server.breaks, server.statuses = [at], [0, 404]
    with pytest.raises(SourceError):
        fetched(server, raw, content)
    assert kept(raw, content).stat().st_size == at
    assert not raw.exists()
    server.answers.clear()


def test_one_run_goes_on_by_itself(raw: Path) -> None:
    with file_server(PACKED, breaks=[MEBIBYTE, 2 * MEBIBYTE, 0]) as server:
        fetched(server, raw)
    assert server.asked == [None, f"bytes={MEBIBYTE}-", f"bytes={3 * MEBIBYTE}-", f"bytes={3 * MEBIBYTE}-"]
    assert [answer.condition for answer in server.answers] == [None, '"one"', '"one"', '"one"']
    assert sum(server.sent) == len(PACKED)
    check_whole(raw)


def test_a_busy_server_after_a_break(raw: Path) -> None:
    with file_server(PACKED, breaks=[MEBIBYTE], statuses=[0, 503, 503]) as server:
        fetched(server, raw)
    assert sum(server.sent) == len(PACKED)
    check_whole(raw)


def test_a_server_that_never_gets_to_the_end(raw: Path) -> None:
    # Some attempts, not for ever; then it is said what was reached, and the next run has less to do.
    with file_server(PACKED, breaks=[MEBIBYTE // 2] * 6) as server:
        with pytest.raises(SourceError, match=f"broke off at {3 * MEBIBYTE} of {len(PACKED)} bytes") as caught:
            fetched(server, raw)
        assert "what has come is kept" in caught.value.remedy
        assert len(server.answers) == 6
        fetched(server, raw)
    assert server.asked[-1] == f"bytes={3 * MEBIBYTE}-"
    assert sum(server.sent) == len(PACKED)
    check_whole(raw)


def test_the_next_run_goes_on(raw: Path) -> None:
    with file_server(PACKED) as server:
        break_off(server, raw)
        fetched(server, raw)
    assert server.asked == [f"bytes={3 * MEBIBYTE}-"]
    assert server.sent == [len(PACKED) - 3 * MEBIBYTE]
    check_whole(raw)


def test_the_file_has_changed_since(raw: Path) -> None:
    # The old beginning with the new end would be neither of them.
    with file_server(OTHER) as server:
        break_off(server, raw)
        server.content, server.validators = PACKED, {"ETag": '"two"'}
        fetched(server, raw)
    assert [(answer.asked, answer.status) for answer in server.answers] == [(f"bytes={3 * MEBIBYTE}-", 200)]
    check_whole(raw)


def test_the_file_has_changed_and_the_server_sends_its_end_all_the_same(raw: Path) -> None:
    with file_server(OTHER, ranges="any version") as server:
        break_off(server, raw)
        server.content, server.validators = PACKED, {"ETag": '"two"'}
        fetched(server, raw)
    assert server.asked == [f"bytes={3 * MEBIBYTE}-", None]
    check_whole(raw)


def test_the_file_is_shorter_now(raw: Path) -> None:
    # 416: nothing is left of it where we would go on.
    with file_server(OTHER) as server:
        break_off(server, raw)
        server.content = packed(PICTURE[:MEBIBYTE])
        (raw.parent / kept(raw).parent.name).rename(kept(raw, server.content).parent)
        fetched(server, raw, server.content)
    assert [answer.status for answer in server.answers] == [416, 200]
    check_whole(raw, PICTURE[:MEBIBYTE])


@pytest.mark.parametrize("ranges", ["unknown", "refused"])
def test_a_server_without_ranges(raw: Path, ranges: Any) -> None:
    # Six times the same gigabytes help nobody.
    with file_server(PACKED, ranges=ranges, breaks=[3 * MEBIBYTE] * 9) as server:
        with pytest.raises(SourceError, match=f"broke off at {3 * MEBIBYTE} of"):
            fetched(server, raw)
        assert len(server.answers) == (2 if ranges == "unknown" else 1)
        assert not list(raw.parent.iterdir())
        server.breaks = []
        fetched(server, raw)
    assert server.asked[-1] is None
    check_whole(raw)


def test_a_server_that_answers_with_another_part(raw: Path) -> None:
    with file_server(PACKED) as server:
        break_off(server, raw)
        server.ranges = "another part"
        fetched(server, raw)
    assert server.asked == [f"bytes={3 * MEBIBYTE}-", None]
    check_whole(raw)


@pytest.mark.parametrize(
    ("validators", "condition"),
    [
        ({"Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}, "Mon, 02 Nov 2026 10:00:00 GMT"),
        ({"ETag": 'W/"one"', "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}, "Mon, 02 Nov 2026 10:00:00 GMT"),
        ({"ETag": '"one"', "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}, '"one"'),
    ],
    ids=["date", "weak", "both"],
)
def test_what_tells_versions_apart(raw: Path, validators: dict[str, str], condition: str) -> None:
    with file_server(PACKED, validators=validators) as server:
        break_off(server, raw)
        fetched(server, raw)
    assert [(answer.condition, answer.status) for answer in server.answers] == [(condition, 206)]
    check_whole(raw)


@pytest.mark.parametrize("validators", [{}, {"ETag": 'W/"one"'}], ids=["none", "weak"])
def test_nothing_tells_versions_apart(raw: Path, validators: dict[str, str]) -> None:
    with file_server(PACKED, validators=validators, breaks=[MEBIBYTE]) as server:
        with pytest.raises(SourceError, match="broke off"):
            fetched(server, raw)
        assert not list(raw.parent.iterdir())
        fetched(server, raw)
    assert server.asked == [None, None]
    check_whole(raw)


def test_all_had_come(raw: Path) -> None:
    # Killed while it unpacked: what lies there needs no server.
    with file_server(PACKED) as server:
        break_off(server, raw)
        kept(raw).write_bytes(PACKED)
        fetched(server, raw)
    assert server.answers == []
    check_whole(raw)


def test_all_has_come_but_the_end_was_not_said(raw: Path) -> None:
    with file_server(PACKED, chunked=True, breaks=[len(PACKED)]) as server:
        fetched(server, raw)
    assert len(server.answers) == 1
    check_whole(raw)


def test_damaged_bytes_do_not_stay(raw: Path) -> None:
    # A disk that lost its power: else every further run would end in the same way.
    with file_server(PACKED) as server:
        break_off(server, raw)
        kept(raw).write_bytes(bytes(3 * MEBIBYTE))
        with pytest.raises(SourceError, match="its sha256 is"):
            fetched(server, raw)
        assert not list(raw.parent.iterdir())
        fetched(server, raw)
    check_whole(raw)


def test_a_damaged_record(raw: Path) -> None:
    with file_server(PACKED) as server:
        break_off(server, raw)
        (kept(raw).parent / "origin.json").write_text("[")
        fetched(server, raw)
    assert server.asked == [None]
    check_whole(raw)


@pytest.mark.parametrize(("tag", "status"), [('"one"', 206), ('"two"', 200)], ids=["same", "other"])
def test_another_address(raw: Path, tag: str, status: int) -> None:
    # A signed address is a new one every day, but the same file; a mirror has a version of its own.
    with file_server(PACKED) as server, file_server(PACKED, validators={"ETag": tag}) as mirror:
        break_off(server, raw)
        fetched(mirror, raw)
    assert [answer.status for answer in mirror.answers] == [status]
    check_whole(raw)


def test_another_checksum(raw: Path) -> None:
    with file_server(OTHER) as server:
        break_off(server, raw, content=OTHER)
        other = raw.parent / ".pets.v2.0123456789ab.download"
        other.mkdir()
        server.content = PACKED
        fetched(server, raw)
        assert other.is_dir()
        other.rmdir()
    assert server.asked == [None]
    check_whole(raw)


def test_no_archive_any_more(raw: Path, tmp_path: Path) -> None:
    # Who gives up on a download and fetches by hand does not want to keep its half.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "1.png").write_bytes(b"mine")
    with file_server(PACKED) as server:
        break_off(server, raw)
    source = FolderSource(kind="folder", path=str(tmp_path / "mine"))
    fetch(FetchSection(source=source), raw, raw.with_suffix(".json"))
    assert sorted(path.name for path in raw.parent.iterdir()) == ["pets", "pets.json"]


def test_too_large_by_its_own_account(raw: Path) -> None:
    with file_server(PACKED, holds=0) as server, pytest.raises(SourceError, match=r"larger than 0\.001 GB"):
        fetched(server, raw, max_gb=1e-3)
    assert not list(raw.parent.iterdir())


def test_a_full_disk(raw: Path) -> None:
    with file_server(PACKED) as server:
        break_off(server, raw)
        start = kept(raw).read_bytes()
        kept(raw).unlink()
        # A device on which there is never any room.
        kept(raw).symlink_to("/dev/full")
        with pytest.raises(SourceError, match="No space left on device") as caught:
            fetched(server, raw)
        assert "make room" in caught.value.remedy
        kept(raw).unlink()
        kept(raw).write_bytes(start)
        write_json(kept(raw).parent / "origin.json", {"version": '"one"'})
        fetched(server, raw)
    check_whole(raw)


def test_taken_over_while_it_unpacks(raw: Path) -> None:
    # The newer one has nothing to download.
    def still_ours() -> None:
        if kept(raw).is_file() and kept(raw).stat().st_size == len(PACKED):
            raise SupersededError("a newer fetch", "nothing to do")

    with file_server(PACKED) as server:
        source = section(server).source
        assert isinstance(source, ArchiveSource)
        with pytest.raises(SupersededError):
            fetch_archive(source, raw, still_ours)
        assert [path.name for path in raw.parent.iterdir()] == [kept(raw).parent.name]
        fetched(server, raw)
    assert len(server.answers) == 1
    check_whole(raw)


def start(server: FileServer, raw: Path) -> "subprocess.Popen[str]":
    config = raw.parents[2] / "section.yaml"
    config.write_text(yaml.safe_dump(section(server).model_dump(mode="json")))
    return subprocess.Popen(
        [
            sys.executable, CHECKOUT / "scripts" / "fetch.py", "--config", config, "--raw", raw,
            "--manifest", raw.with_suffix(".json"),
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT / "src")},
    )  # fmt: skip


def wait_for(what: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def has_come(raw: Path, size: int) -> bool:
    return kept(raw).is_file() and kept(raw).stat().st_size >= size


def test_a_process_is_killed(raw: Path) -> None:
    with file_server(PACKED, holds=3 * MEBIBYTE) as server:
        killed = start(server, raw)
        try:
            wait_for(lambda: has_come(raw, 3 * MEBIBYTE))
        finally:
            killed.send_signal(signal.SIGKILL)
            killed.communicate(timeout=PATIENCE_S)
        assert killed.returncode == -signal.SIGKILL and not raw.exists()
        server.holds = None
        server.go_on.set()
        wait_for(lambda: server.answers)
        again = start(server, raw)
        output, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, output
    assert [(answer.asked, answer.sent) for answer in server.answers[1:]] == [
        (f"bytes={3 * MEBIBYTE}-", len(PACKED) - 3 * MEBIBYTE)
    ]
    check_whole(raw)
    assert read_json(raw.with_suffix(".json"))["files"] == {
        "cat/1.png": {"bytes": len(PICTURE), "sha256": hashlib.sha256(PICTURE).hexdigest()}
    }


def test_a_newer_process_takes_over(raw: Path) -> None:
    # Snakemake was killed, its job goes on, and the next Snakemake starts the same job: they must not write at once.
    with file_server(PACKED, wait_s=0.1) as server:
        older = start(server, raw)
        newer = None
        try:
            wait_for(lambda: has_come(raw, MEBIBYTE))
            newer = start(server, raw)
            said, _ = older.communicate(timeout=PATIENCE_S)
            server.wait_s = 0
            output, _ = newer.communicate(timeout=PATIENCE_S)
        finally:
            for process in (older, newer):
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
    assert older.returncode == 1 and "a newer fetch has taken over" in said and "Traceback" not in said
    assert newer.returncode == 0 and f"another fetch of {raw} is on" in output
    (asked,) = (answer for answer in server.answers if answer.asked)
    assert asked.status == 206 and asked.sent <= len(PACKED) - MEBIBYTE
    check_whole(raw)
