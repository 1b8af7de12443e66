"""Archives in buckets: from a real storage emulator, and what is said where a file cannot be had."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from storage_emulator import environment, storage_emulator, upload
from test_fetch_archive import zipped

from imagewright.config.data import ArchiveSource, FetchSection
from imagewright.errors import SourceError
from imagewright.fetch import bucket, download, fetch

CHECKOUT = Path(__file__).parents[2]
PICTURE = np.random.default_rng(1).bytes(300_000)
PACKED = zipped({"cat/1.png": PICTURE})
OTHER = zipped({"cat/1.png": PICTURE[::-1]})
BLOCK = 1 << 16
URL = "gs://shared-pets/2026/pets of all kinds.zip"
NAME = URL.removeprefix("gs://shared-pets/")
QUICKLY_S = 15
GOOGLES = ("STORAGE_EMULATOR_HOST", "GOOGLE_", "CLOUDSDK_", "GCE_", "NO_GCE_")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with storage_emulator(tmp_path_factory.mktemp("storage"), "shared-pets") as url:
        yield url


@pytest.fixture(autouse=True)
def small_blocks(emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(emulator, "shared-pets", NAME, PACKED)
    monkeypatch.setattr(bucket, "BLOCK", BLOCK)
    monkeypatch.setattr(download, "PAUSES_S", (0,))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "pets"


@dataclass
class Gate:
    """What stands between us and the emulator: it counts, and refuses after some requests for content.

    Attributes:
        opens: how many such requests still pass; None: all.
        replaced: what takes the file's place then, so that 404 is answered once: its old version has gone.
        asked: the ranges that were answered.
    """

    opens: int | None = None
    replaced: bytes | None = None
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def answering(answer: Any) -> Iterator[str]:
    """A server on loopback; `answer(handler)` gives a status, headers and a body."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            status, headers, body = answer(self)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def refusal(status: int, message: str) -> tuple[int, dict[str, str], bytes]:
    """An error as Google's service words it."""
    error = {"error": {"code": status, "message": message, "errors": [{"message": message, "reason": "forbidden"}]}}
    return status, {"Content-Type": "application/json"}, json.dumps(error).encode()


@contextmanager
def gate(emulator: str) -> Iterator[Gate]:
    """A gate before the emulator, to which gcsfs is sent."""
    state = Gate()

    def answer(handler: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        asked = handler.headers.get("Range", "")
        if "alt=media" in handler.path:
            if state.opens == 0 and state.replaced:
                upload(emulator, "shared-pets", NAME, state.replaced)
                state.opens = None
                return refusal(404, "No such object")
            if state.opens == 0:
                return refusal(403, "your right to read has ended")
            state.opens = None if state.opens is None else state.opens - 1
            state.asked.append(asked)
        request = urllib.request.Request(emulator + handler.path, headers={"Range": asked} if asked else {})
        try:
            response = urllib.request.urlopen(request, timeout=QUICKLY_S)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            headers = {name: value for name, value in response.headers.items() if name.startswith("Content-")}
            del headers["Content-Length"]
            return response.status, headers, response.read()

    with answering(answer) as state.url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", state.url)
        yield state


def section(content: bytes = PACKED, url: str = URL, max_gb: float = 1.0) -> FetchSection:
    digest = hashlib.sha256(content).hexdigest()
    return FetchSection(source=ArchiveSource(kind="archive", url=url, sha256=digest, max_gb=max_gb))


def fetched(raw: Path, content: bytes = PACKED, **how: Any) -> None:
    fetch(section(content, **how), raw, raw.with_suffix(".json"))


def check_whole(raw: Path) -> None:
    assert (raw / "cat" / "1.png").read_bytes() == PICTURE
    assert sorted(path.name for path in raw.parent.iterdir()) == ["pets", "pets.json"]


def starts(ranges: list[str]) -> list[int]:
    return [int(re.sub(r"bytes=(\d+)-\d+", r"\1", asked)) for asked in ranges]


def test_a_file_in_a_bucket(raw: Path, emulator: str) -> None:
    with gate(emulator) as counted:
        fetched(raw)
    assert starts(counted.asked) == list(range(0, len(PACKED), BLOCK))
    check_whole(raw)


def test_the_next_run_goes_on(raw: Path, emulator: str) -> None:
    with gate(emulator) as counted:
        counted.opens = 2
        with pytest.raises(SourceError, match=r"forbidden \(your right to read has ended\)"):
            fetched(raw)
        assert not raw.exists()
        counted.opens = None
        fetched(raw)
    # No block twice.
    assert starts(counted.asked) == list(range(0, len(PACKED), BLOCK))
    check_whole(raw)


def test_the_file_was_replaced_since(raw: Path, emulator: str) -> None:
    upload(emulator, "shared-pets", NAME, OTHER)
    with gate(emulator) as counted:
        counted.opens = 2
        with pytest.raises(SourceError, match="forbidden"):
            fetched(raw)
        upload(emulator, "shared-pets", NAME, PACKED)
        counted.opens = None
        fetched(raw)
    assert starts(counted.asked)[2:] == list(range(0, len(PACKED), BLOCK))
    check_whole(raw)


def test_the_file_is_replaced_meanwhile(raw: Path, emulator: str) -> None:
    upload(emulator, "shared-pets", NAME, OTHER)
    with gate(emulator) as counted:
        counted.opens, counted.replaced = 2, PACKED
        fetched(raw)
    assert starts(counted.asked)[2:] == list(range(0, len(PACKED), BLOCK))
    check_whole(raw)


def test_another_checksum(raw: Path) -> None:
    with pytest.raises(SourceError, match=f"its sha256 is {hashlib.sha256(PACKED).hexdigest()}, not"):
        fetched(raw, OTHER)
    assert not list(raw.parent.iterdir())


def test_too_large(raw: Path, emulator: str) -> None:
    with gate(emulator) as counted, pytest.raises(SourceError, match=r"larger than 0\.0001 GB"):
        fetched(raw, max_gb=1e-4)
    assert counted.asked == []
    assert not list(raw.parent.iterdir())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gs://shared-pets/2026/dogs.zip", "no such bucket or file"),
        ("gs://no-such-bucket/pets.zip", "no such bucket or file"),
        ("gs://shared-pets/2026", "this is a folder"),
    ],
)
def test_nothing_there(raw: Path, url: str, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match=f"^{url}: .*{words}"):
        fetched(raw, url=url)
    assert time.monotonic() - began < QUICKLY_S
    assert not list(raw.parent.iterdir())


@pytest.mark.parametrize("url", ["gs://bucket", "gs://bucket/", "gs:///pets.zip", "gs://bucket/folder/"])
def test_an_address_that_names_no_file(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        section(url=url)


def said(raw: Path, variables: dict[str, str]) -> list[str]:
    """The lines of a fetch that stops, as a person sees them."""
    config = raw.parents[2] / "section.yaml"
    config.write_text(yaml.safe_dump(section().model_dump(mode="json")))
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, CHECKOUT / "scripts" / "fetch.py", "--config", config, "--raw", raw,
            "--manifest", raw.with_suffix(".json"),
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith(GOOGLES)}
        | {"PYTHONPATH": str(CHECKOUT / "src"), "HOME": str(raw.parents[2])}
        | variables,
    )  # fmt: skip
    assert time.monotonic() - began < QUICKLY_S
    assert done.returncode == 1 and not raw.exists()
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and lines[0].startswith(f"error: {URL}: ") and lines[1].startswith("  "), done.stdout
    return lines


def test_no_credentials(raw: Path) -> None:
    # The worst case: at the address of a cloud's own machine service, somebody listens and never answers.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        lines = said(raw, {"GCE_METADATA_IP": f"127.0.0.1:{silent.getsockname()[1]}"})
    assert "no valid Google credentials" in lines[0]
    assert "gcloud auth application-default login" in lines[1]


def test_credentials_that_are_not_there(raw: Path, tmp_path: Path) -> None:
    lines = said(raw, {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "nothing.json")})
    assert "nothing.json was not found" in lines[0]
    assert "GOOGLE_APPLICATION_CREDENTIALS" in lines[1]


def key_file(folder: Path, token_uri: str) -> Path:
    """A service account's key, made here and known to nobody."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    facts = {
        "type": "service_account", "project_id": "toy", "private_key_id": "1", "client_id": "1",
        "client_email": "pets@toy.iam.gserviceaccount.com", "token_uri": token_uri,
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }  # fmt: skip
    path = folder / "key.json"
    path.write_text(json.dumps(facts))
    return path


def test_credentials_that_are_refused(raw: Path, tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        error = {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}
        return 400, {"Content-Type": "application/json"}, json.dumps(error).encode()

    with answering(answer) as url:
        key = key_file(tmp_path, f"{url}/token")
        lines = said(raw, {"GOOGLE_APPLICATION_CREDENTIALS": str(key)})
    assert "the credentials were refused" in lines[0] and "account not found" in lines[0]
    assert "gcloud auth application-default login" in lines[1]


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "forbidden (pets@toy does not have storage.objects.get access)"), (401, "the credentials were refused")],
)
def test_forbidden(raw: Path, status: int, words: str) -> None:
    message = "pets@toy does not have storage.objects.get access"
    with answering(lambda handler: refusal(status, message)) as url:
        lines = said(raw, environment(url))
    assert words in lines[0] and message in lines[0]
    assert "storage.objectViewer" in lines[1] or "gcloud auth" in lines[1]


@pytest.mark.parametrize("listens", [False, True], ids=["nobody", "out-of-order"])
def test_no_answer(raw: Path, monkeypatch: pytest.MonkeyPatch, listens: bool) -> None:
    monkeypatch.setattr(bucket, "PATIENCE_S", 1)
    with answering(lambda handler: refusal(503, "backend error")) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        if listens:
            check_unanswered(raw)
    if not listens:
        check_unanswered(raw)


def check_unanswered(raw: Path) -> None:
    with pytest.raises(SourceError, match="no answer within 1 s") as caught:
        fetched(raw)
    assert "check the address and the network" in caught.value.remedy
    assert not list(raw.parent.iterdir())
