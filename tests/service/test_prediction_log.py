"""The log of predictions: who reads it later finds every answer in it once, and of the pictures nothing more."""

import base64
import io
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from api_server import ApiServer, api_server, records
from conftest import Project
from PIL import Image

from imagewright.features import image_features

DIGITS, SHAPES = "results/bundle/digits8", "results/bundle/shapes"
MOUNT_S = 20
PATIENCE_S = 30.0


def ask(client: httpx.Client, *pictures: bytes) -> str:
    """Send pictures, which has to succeed, and give the request's number."""
    answer = client.post("/predict", files=[("file", ("its-name.png", picture)) for picture in pictures])
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-request-id"])


def asked(record: dict[str, object]) -> object:
    return record["request"]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_record_says_what_was_answered_and_nothing_of_the_picture(built: Project, tmp_path: Path) -> None:
    three, seven = ((built.root / f"data/raw/digits8/{digit}/00.png").read_bytes() for digit in (3, 7))
    log = tmp_path / "predictions"
    with api_server(built.root / DIGITS, tmp_path, {"log_predictions": str(log)}) as server:
        with server.client() as client:
            answer = client.post("/predict", files=[("file", ("its-name.png", one)) for one in (three, seven)])
            assert client.post("/predict", files={"file": b"no picture"}).status_code == 415
        assert server.stop() == 0
    found = records(log)
    assert [asked(record) for record in found] == [answer.headers["x-request-id"]] * 2
    for record, said, picture in zip(found, answer.json()["predictions"], (three, seven), strict=True):
        assert set(record) == {"time", "request", "bundle", "bytes", "features", "prediction", "ms"}
        assert record["bundle"] == answer.headers["x-bundle-id"]
        assert record["bytes"] == len(picture)
        assert record["prediction"] == {"label": said["label"], "confidence": said["confidence"]}
        seen = np.asarray(Image.open(io.BytesIO(picture)).resize((16, 16), Image.Resampling.BILINEAR))
        assert record["features"] == pytest.approx(image_features(seen[:, :, np.newaxis]))
    for file in log.rglob("*"):
        # What was asked is nobody's business but the owner's.
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600)
        if file.is_file():
            content = file.read_bytes()
            for picture in (three, seven):
                assert base64.b64encode(picture)[:40] not in content and picture[:40] not in content
            assert b"its-name" not in content and b"127.0.0.1" not in content


def test_of_a_mask_the_areas_are_kept(built: Project, tmp_path: Path) -> None:
    picture = (built.root / "data/raw/shapes/images/02.png").read_bytes()
    log = tmp_path / "predictions"
    with api_server(built.root / SHAPES, tmp_path, {"log_predictions": str(log)}) as server:
        with server.client() as client:
            said = client.post("/predict", files={"file": picture}).json()["predictions"][0]
            # Also where the mask itself was asked for.
            client.post("/predict", params={"as": "png"}, files={"file": picture})
        assert server.stop() == 0
    expected = {"areas": said["areas"], "confidence": said["confidence"]}
    assert [record["prediction"] for record in records(log)] == [expected] * 2


def test_pictures_are_kept_where_that_was_switched_on(built: Project, tmp_path: Path) -> None:
    picture = (built.root / "data/raw/digits8/3/00.png").read_bytes()
    log = tmp_path / "predictions"
    with api_server(built.root / DIGITS, tmp_path, {"log_predictions": str(log), "log_images": True}) as server:
        with server.client() as client:
            ask(client, picture)
        assert server.stop() == 0
    (record,) = records(log)
    assert base64.b64decode(record["image"]) == picture


def test_a_record_does_not_wait_for_the_end(built: Project, tmp_path: Path) -> None:
    # Whoever watches for a change in what is asked reads it while the server runs; so does it survive a power cut.
    picture = (built.root / "data/raw/digits8/3/00.png").read_bytes()
    log = tmp_path / "predictions"
    with api_server(built.root / DIGITS, tmp_path, {"log_predictions": str(log)}) as server, server.client() as client:
        first = ask(client, picture)
        wait_for(lambda: [asked(record) for record in records(log)] == [first])
        server.process.kill()
        server.process.wait(PATIENCE_S)
    assert [asked(record) for record in records(log)] == [first]


def test_servers_share_a_folder(built: Project, tmp_path: Path) -> None:
    picture = (built.root / "data/raw/digits8/3/00.png").read_bytes()
    log = tmp_path / "predictions"
    limits = {"log_predictions": str(log)}
    with (
        api_server(built.root / DIGITS, tmp_path / "a", limits) as first,
        api_server(built.root / DIGITS, tmp_path / "b", limits) as second,
        first.client() as one,
        second.client() as other,
    ):
        numbers = [ask(client, picture) for _ in range(20) for client in (one, other)]
        assert (first.stop(), second.stop()) == (0, 0)
    assert sorted(asked(record) for record in records(log)) == sorted(numbers)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of 256 kB, mounted until the block ends; where that is not allowed, the test is skipped."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, timeout=MOUNT_S, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], timeout=MOUNT_S, check=True)


def complaints(server: ApiServer) -> list[str]:
    return [line["message"] for line in server.lines() if line["level"] == "error"]


@pytest.mark.slow
def test_a_disk_that_was_full_for_a_while(built: Project, tmp_path: Path) -> None:
    # A full disk is no reason to answer nobody, and when there is room again nothing may be missing, or there twice.
    picture = (built.root / "data/raw/digits8/3/00.png").read_bytes()
    disk = tmp_path / "disk"
    with small_disk(disk):
        limits = {"log_predictions": str(disk / "predictions")}
        with api_server(built.root / DIGITS, tmp_path, limits) as server, server.client() as client:
            numbers = [ask(client, picture)]
            wait_for(lambda: len(records(disk)) == 1)
            # A line does not end where a page does, so that some are cut in two.
            with (disk / "other").open("wb") as other:
                while os.statvfs(disk).f_bavail > 1:
                    other.write(bytes(4096))
                    other.flush()
            numbers += [ask(client, picture) for _ in range(60)]
            wait_for(lambda: bool(complaints(server)))
            numbers += [ask(client, picture) for _ in range(60)]
            assert len(records(disk)) < 61
            (disk / "other").unlink()
            numbers += [ask(client, picture) for _ in range(20)]
            wait_for(lambda: len(records(disk)) >= len(numbers))
            numbers += [ask(client, picture) for _ in range(20)]
            assert server.stop() == 0
        assert sorted(map(str, map(asked, records(disk)))) == sorted(numbers)
    assert all("No space left on device" in message for message in complaints(server))


@pytest.mark.slow
def test_a_folder_that_was_gone_for_a_while(built: Project, tmp_path: Path) -> None:
    picture = (built.root / "data/raw/digits8/3/00.png").read_bytes()
    log, aside = tmp_path / "predictions", tmp_path / "aside"
    with api_server(built.root / DIGITS, tmp_path, {"log_predictions": str(log)}) as server, server.client() as client:
        numbers = [ask(client, picture) for _ in range(5)]
        wait_for(lambda: len(records(log)) == 5)
        log.rename(aside)
        log.write_text("a file where the folder was")
        numbers += [ask(client, picture) for _ in range(20)]
        wait_for(lambda: bool(complaints(server)))
        numbers += [ask(client, picture) for _ in range(20)]
        log.unlink()
        aside.rename(log)
        numbers += [ask(client, picture) for _ in range(5)]
        assert server.stop() == 0
    assert sorted(map(str, map(asked, records(log)))) == sorted(numbers)


def test_a_log_that_is_full_stops_the_answers_and_not_the_memory(built: Project, tmp_path: Path) -> None:
    picture = (built.root / "data/raw/digits8/3/00.png").read_bytes()
    log, aside = tmp_path / "predictions", tmp_path / "aside"
    limits = {"log_predictions": str(log), "log_waiting_mb": 0.02}
    with api_server(built.root / DIGITS, tmp_path, limits) as server, server.client() as client:
        log.rename(aside)
        log.write_text("a file where the folder was")
        said = [client.post("/predict", files={"file": picture}) for _ in range(30)]
        answered = [answer for answer in said if answer.status_code == 200]
        assert 15 <= len(answered) <= 25
        for answer in said[len(answered) :]:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "cannot be recorded" in answer.json()["detail"]
        # It lives, and its owner can see what is wrong.
        assert client.get("/health").status_code == 200 and complaints(server)
        log.unlink()
        aside.rename(log)
        wait_for(lambda: client.post("/predict", files={"file": picture}).status_code == 200)
        assert server.stop() == 0
    numbers = {str(asked(record)) for record in records(log)}
    assert {answer.headers["x-request-id"] for answer in answered} < numbers and len(records(log)) == len(numbers)


@pytest.mark.slow
def test_a_server_that_could_not_keep_its_promise_says_so(built: Project, tmp_path: Path) -> None:
    picture = (built.root / "data/raw/digits8/3/00.png").read_bytes()
    log = tmp_path / "predictions"
    limits = {"log_predictions": str(log), "shutdown_s": 3.0}
    with api_server(built.root / DIGITS, tmp_path, limits) as server, server.client() as client:
        first = ask(client, picture)
        wait_for(lambda: len(records(log)) == 1)
        log.rename(tmp_path / "aside")
        log.write_text("a file where the folder was")
        ask(client, picture)
        started = time.monotonic()
        assert server.stop() == 1
        assert time.monotonic() - started < 3 + 3
    assert [asked(record) for record in records(tmp_path / "aside")] == [first]
    error, remedy = server.log.read_text().splitlines()[-2:]
    assert error == f"error: records of predictions could not be written to {log}" and remedy.startswith("  ")


def test_where_nothing_was_asked_nothing_is_written(built: Project, tmp_path: Path) -> None:
    log = tmp_path / "predictions"
    with api_server(built.root / DIGITS, tmp_path, {"log_predictions": str(log)}) as server:
        assert list(log.iterdir()) == []
        assert server.stop() == 0
    assert list(log.iterdir()) == []
