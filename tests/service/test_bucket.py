"""A bundle from a bucket, and a log into one: where a server has no disk that outlives it."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from api_server import ANSWER_S, api_server, refusal
from clones import BUCKET
from conftest import Project
from processes import end
from storage_emulator import delete, storage_emulator, upload

from imagewright.files import read_json

DIGITS = "results/bundle/digits8"
SERVED = ("bundle.json", "export.json", "gate.json", "model.int8.onnx", "model.onnx")


@pytest.fixture
def bundle(built: Project, endpoint: str, tmp_path: Path) -> str:
    """A bundle in the bucket, without what only people read."""
    name = f"{tmp_path.name}/digits8"
    for file in SERVED:
        upload(endpoint, BUCKET, f"{name}/{file}", (built.root / DIGITS / file).read_bytes())
    return name


def variables(endpoint: str, tmp_path: Path) -> dict[str, str]:
    """Send the server to the emulator, and let it leave what it leaves in a folder of this test."""
    (tmp_path / "temporary").mkdir(exist_ok=True)
    return {"STORAGE_EMULATOR_HOST": endpoint, "TMPDIR": str(tmp_path / "temporary")}


def three(built: Project) -> bytes:
    return (built.root / "data/raw/digits8/3/00.png").read_bytes()


def logged(endpoint: str, folder: str) -> list[dict[str, Any]]:
    """All records below a folder of the bucket."""
    address = f"{endpoint}/storage/v1/b/{BUCKET}/o"
    found = httpx.get(address, params={"prefix": f"{folder}/"}, timeout=ANSWER_S, trust_env=False).json()
    names = [item["name"] for item in found.get("items", [])]
    assert all(name.endswith(".jsonl") for name in names), names
    texts = [
        httpx.get(f"{address}/{quote(name, safe='')}", params={"alt": "media"}, timeout=ANSWER_S, trust_env=False).text
        for name in names
    ]
    assert all(text.endswith("\n") for text in texts)
    return [json.loads(line) for text in texts for line in text.splitlines()]


def test_a_bundle_is_served_from_a_bucket(built: Project, endpoint: str, bundle: str, tmp_path: Path) -> None:
    about = read_json(built.root / DIGITS / "bundle.json")
    given = variables(endpoint, tmp_path)
    with api_server(f"gs://{BUCKET}/{bundle}/", tmp_path, **given) as server:
        with server.client() as client:
            assert client.get("/metadata").json()["bundle"] == about["id"]
            answer = client.post("/predict", files={"file": three(built)})
        assert answer.json()["predictions"][0]["label"] == "3"
        assert server.stop() == 0
    # The next ones find the disk as this one did.
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("byte", ["model.onnx: it is not the file that was judged"]),
        ("file", ["there is no whole bundle"]),
        ("address", ["there is no whole bundle"]),
        ("bucket", ["gs://no-such-bucket/digits8: "]),
        ("path", ["bundle.json names '../x', which is no file of it"]),
        ("list", ["its bundle.json lists no files"]),
    ],
)
def test_what_is_not_the_bundle_that_was_judged_is_refused(
    built: Project, endpoint: str, bundle: str, tmp_path: Path, damage: str, words: list[str]
) -> None:
    place = f"gs://{BUCKET}/{bundle}"
    if damage == "byte":
        content = bytearray((built.root / DIGITS / "model.onnx").read_bytes())
        content[9_000_000] ^= 1
        upload(endpoint, BUCKET, f"{bundle}/model.onnx", bytes(content))
    elif damage == "file":
        delete(endpoint, BUCKET, f"{bundle}/model.onnx")
    elif damage == "address":
        place += "-other"
    elif damage == "bucket":
        place = "gs://no-such-bucket/digits8"
    elif damage == "path":
        about = read_json(built.root / DIGITS / "bundle.json")
        about["files"]["../x"] = "0" * 64
        upload(endpoint, BUCKET, f"{bundle}/bundle.json", json.dumps(about).encode())
    else:
        upload(endpoint, BUCKET, f"{bundle}/bundle.json", b'["no", "bundle"]')
    said = refusal(place, tmp_path, **variables(endpoint, tmp_path))
    for word in words:
        assert word in said
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not list(tmp_path.rglob("x"))


def test_who_is_stopped_while_a_bundle_comes_leaves_nothing(built: Project, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        project = Project(tmp_path, variables=variables(endpoint, tmp_path))
        process = project.start("imagewright", "serve", f"gs://{BUCKET}/digits8", "--port", "0")
        try:
            silent.settimeout(ANSWER_S)
            with silent.accept()[0]:
                assert list((tmp_path / "temporary").iterdir()) != []
                process.terminate()
                assert process.wait(ANSWER_S) == 143
        finally:
            end(process, ANSWER_S)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_every_answer_is_in_the_bucket_when_the_server_has_ended(built: Project, endpoint: str, tmp_path: Path) -> None:
    # Cloud Run gives no disk, and ends a server whenever it likes.
    folder = f"{tmp_path.name}/predictions"
    limits = {"log_predictions": f"gs://{BUCKET}/{folder}"}
    with api_server(built.root / DIGITS, tmp_path, limits, **variables(endpoint, tmp_path)) as server:
        assert logged(endpoint, folder) == []
        with server.client() as client:
            numbers = [client.post("/predict", files={"file": three(built)}).headers["x-request-id"] for _ in range(30)]
        assert server.stop() == 0
    found = logged(endpoint, folder)
    assert [record["request"] for record in found] == numbers
    assert all("image" not in record for record in found)


@pytest.mark.slow
def test_more_than_one_object_can_hold(built: Project, endpoint: str, tmp_path: Path) -> None:
    folder = f"{tmp_path.name}/predictions"
    limits = {"log_predictions": f"gs://{BUCKET}/{folder}"}
    with api_server(built.root / DIGITS, tmp_path, limits, **variables(endpoint, tmp_path)) as server:
        files = [("file", three(built))] * 16
        with server.client() as client:
            numbers = [client.post("/predict", files=files).headers["x-request-id"] for _ in range(70)]
        assert server.stop() == 0
    found = logged(endpoint, folder)
    assert sorted(record["request"] for record in found) == sorted(numbers * 16)


@pytest.fixture
def own_endpoint(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """An emulator that a test may stop; it is given with what stops it."""
    (tmp_path / "storage").mkdir()
    running = storage_emulator(tmp_path / "storage", BUCKET)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        running.__exit__(None, None, None)

    yield running.__enter__(), stop
    if not stopped:
        stop()


@pytest.mark.slow
def test_a_bucket_that_is_gone_keeps_nobody_waiting(
    built: Project, own_endpoint: tuple[str, Any], tmp_path: Path
) -> None:
    endpoint, stop = own_endpoint
    limits = {"log_predictions": f"gs://{BUCKET}/predictions", "shutdown_s": 5.0}
    with api_server(built.root / DIGITS, tmp_path, limits, **variables(endpoint, tmp_path)) as server:
        stop()
        with server.client() as client:
            for _ in range(10):
                assert client.post("/predict", files={"file": three(built)}).status_code == 200
        assert server.stop(5 + 5) == 1
    assert "error: records of predictions could not be written to gs://" in server.log.read_text()


def test_a_bucket_that_cannot_be_written_to_is_noticed_at_the_start(
    built: Project, endpoint: str, tmp_path: Path
) -> None:
    said = refusal(
        built.root / DIGITS, tmp_path, {"log_predictions": "gs://no-such-bucket/x"}, **variables(endpoint, tmp_path)
    )
    assert "gs://no-such-bucket/x: predictions cannot be logged there" in said
