"""The real server as a process of its own: started as a user would, asked, and stopped."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import yaml
from conftest import Project
from processes import end

START_S = 90
STOP_S = 45
ANSWER_S = 60


@dataclass(frozen=True)
class ApiServer:
    """A server that answers.

    Attributes:
        url: its address.
        process: the server itself, with no shell around it.
        log: what it prints.
    """

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid

    @property
    def address(self) -> tuple[str, int]:
        """Where its socket listens."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def client(self, **arguments: Any) -> httpx.Client:
        """A client of it, which keeps its connections; close it."""
        return httpx.Client(base_url=self.url, timeout=ANSWER_S, trust_env=False, **arguments)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; a line that is no JSON fails."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self, patience_s: float = STOP_S) -> int:
        """Ask it to end, and give its exit status; where it does not end in time, it is killed, and that fails."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
            raise


@contextmanager
def api_server(
    bundle: Path | str, folder: Path, config: Mapping[str, Any] | None = None, *arguments: str, **variables: str
) -> Iterator[ApiServer]:
    """Serve a bundle on a free port of 127.0.0.1 until the block ends.

    Args:
        bundle: a folder, or `gs://bucket/folder`.
        folder: an empty one, for its config, its address and its log.
        config: limits that are not the default.
        *arguments: more of the command line.
        **variables: of its environment.

    Yields:
        The server, once `/health` answers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = _start(bundle, folder, config, *arguments, **variables)
    try:
        yield ApiServer(_wait(process, folder), process, folder / "printed.log")
    finally:
        end(process, STOP_S)


def refusal(
    bundle: Path | str, folder: Path, config: Mapping[str, Any] | None = None, *arguments: str, **variables: str
) -> str:
    """Start a server that must not start, and give what it says: one line, and one more with what to do."""
    folder.mkdir(parents=True, exist_ok=True)
    process = _start(bundle, folder, config, *arguments, **variables)
    try:
        status = process.wait(START_S)
    finally:
        process.kill()
        process.wait(STOP_S)
    said = (folder / "printed.log").read_text()
    assert status == 1, said
    error, remedy = said.splitlines()
    assert error.startswith("error: ") and remedy.startswith("  "), said
    assert not (folder / "address").exists()
    return said


def refused(answer: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    """Check that an answer is a problem as RFC 9457 has it and says these words, and give it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-bundle-id"]
    problem = answer.json()
    assert problem["type"] == "about:blank"
    assert (problem["status"], problem["title"]) == (status, HTTPStatus(status).phrase)
    assert problem["detail"]
    for word in words:
        assert word in problem["detail"]
    assert "predictions" not in problem
    return dict(problem)


def records(folder: Path) -> list[dict[str, Any]]:
    """What a log of predictions holds; half a line fails."""
    found = []
    for file in sorted(folder.rglob("*.jsonl")):
        text = file.read_text()
        assert text.endswith("\n") or not text
        found += [json.loads(line) for line in text.splitlines()]
    return found


def _start(
    bundle: Path | str, folder: Path, config: Mapping[str, Any] | None, *arguments: str, **variables: str
) -> "subprocess.Popen[bytes]":
    command = ["imagewright", "serve", str(bundle), "--port", "0", "--ready", str(folder / "address")]
    if config is not None:
        (folder / "serve.yaml").write_text(yaml.safe_dump(dict(config)))
        command += ["--config", str(folder / "serve.yaml")]
    return Project(folder, variables=variables).start(*command, *arguments)


def _wait(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        with suppress(FileNotFoundError, httpx.TransportError):
            url = (folder / "address").read_text()
            if httpx.get(f"{url}/health", timeout=START_S, trust_env=False).status_code == httpx.codes.OK:
                return url
        time.sleep(0.05)
    raise AssertionError(f"the server does not start: {(folder / 'printed.log').read_text()[-3000:]}")
