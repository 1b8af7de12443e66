"""The load test measures the real server, and fails on one that answers fast but wrong."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from api_server import api_server
from checkout import CHECKOUT
from conftest import Project
from loadtest import measure

from imagewright.files import read_json

pytestmark = pytest.mark.slow

Answer = tuple[int, dict[str, str], bytes]
SECONDS = 3
SOON = ("--seconds", "1")
"""What is wrong is so from the first answer on."""
HANGS_S = 30


def load_test(built: Project, out: Path, *arguments: str, experiment: str = "digits8") -> tuple[int, str]:
    """Exit status and everything that is printed."""
    script = str(CHECKOUT / "benchmarks/loadtest.py")
    done = built.run(
        sys.executable, script, "--experiment", experiment, "--seconds", str(SECONDS), "--out", str(out), *arguments
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


def problem(done: tuple[int, str]) -> str:
    """What is wrong, of a load test that failed as it should: in two lines."""
    status, printed = done
    assert status == 1, printed
    error, remedy = printed.splitlines()[-2:]
    assert error.startswith("error: ") and remedy.startswith("  see "), printed
    return error


@contextmanager
def broken(answer: Callable[[bytes], Answer]) -> Iterator[str]:
    """A server that answers every request with what `answer` makes of its body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = HANGS_S

        def do_POST(self) -> None:
            status, headers, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = "Connection" in headers

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def in_schema(bundle: dict[str, Any], runtime: str = "onnx", **wrong: Any) -> Callable[[bytes], Answer]:
    """The first class, whatever is in the picture; for the rest as the real server says it, but for what is `wrong`."""
    shares = {name: float(name == bundle["classes"][0]) for name in bundle["classes"]}
    size = {name: bundle["input"][name] for name in ("height", "width")}

    def answer(asked: bytes) -> Answer:
        found = re.search(rb'filename="([^"]+)"', asked)
        assert found
        prediction = {"file": found[1].decode(), "label": bundle["classes"][0], "confidence": 1.0}
        prediction |= {"probabilities": shares, "areas": shares, **size, **wrong}
        told = {"bundle": bundle["id"], "runtime": runtime, "ms": 0.1, "predictions": [prediction]}
        return 200, {}, json.dumps(told).encode()

    return answer


def says(status: int, body: str, **headers: str) -> Callable[[bytes], Answer]:
    return lambda asked: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode())


def test_the_real_server_passes_and_the_numbers_are_those_of_its_own_log(built: Project, tmp_path: Path) -> None:
    status, printed = load_test(built, tmp_path, "--users", "1", "4")
    assert status == 0, printed
    report = read_json(tmp_path / "digits8.json")
    assert [level["users"] for level in report["levels"]] == [1, 4]
    for level in report["levels"]:
        assert level["failures"] == level["refused"] == 0
        assert 0 < level["p50_ms"] <= level["p95_ms"] <= level["p99_ms"] < SECONDS * 1000
        assert level["answered"] / level["requests_a_second"] == pytest.approx(SECONDS, rel=0.5)
        # Each user waits for its answer: as many are under way as there are users.
        assert level["requests_a_second"] * level["p50_ms"] / 1000 < 2 * level["users"]
    lines = [json.loads(line) for line in (tmp_path / "digits8.server.log").read_text().splitlines()]
    answered = [line for line in lines if line.get("path") == "/predict" and line["status"] == 200]
    assert len(answered) == sum(level["answered"] for level in report["levels"])
    table = (tmp_path / "digits8.md").read_text()
    assert table in printed
    assert [row.split(" | ")[0] for row in table.splitlines()[-2:]] == ["| 1", "| 4"]
    # The server that was started is gone.
    port = int(lines[0]["message"].rpartition(":")[2])
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_no_request_is_lost_when_the_time_is_up(built: Project, tmp_path: Path) -> None:
    status, printed = load_test(built, tmp_path, "--users", "64", "64", "64", *SOON)
    assert status == 0, printed


def test_masks_of_int8_pass_with_as_many_other_pixels_as_the_gate_has_seen(built: Project, tmp_path: Path) -> None:
    with api_server(built.root / "results/bundle/shapes", tmp_path / "server", None, "--runtime", "int8") as server:
        status, printed = load_test(built, tmp_path, "--users", "2", "--url", server.url, experiment="shapes")
    assert status == 0, printed
    report = read_json(tmp_path / "shapes.json")
    allowed = built.json("results/bundle/shapes/gate.json")["runtimes"]["int8"]["flips"]
    assert report["levels"][0]["answered"] and report["different_decisions"].get("int8", 0) <= allowed


def test_refused_requests_are_told_apart(built: Project, tmp_path: Path) -> None:
    limits = {"queue": 1, "max_images": 1}
    with api_server(built.root / "results/bundle/digits8", tmp_path / "server", limits) as server:
        status, printed = load_test(built, tmp_path, "--users", "8", "--url", server.url)
    assert status == 0, printed
    [level] = read_json(tmp_path / "digits8.json")["levels"]
    assert level["answered"] and level["refused"] and not level["failures"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says(500, '{"detail": "this is our fault"}'), "status 500: .*this is our fault"),
        # What a team once measured: fast, and the path that nothing had gone through the model on.
        (says(200, '{"label": "unknown"}'), 'no prediction .*KeyError.*"unknown"'),
        (says(200, ""), "no prediction"),
        (says(200, "{}", Content_Length="9", Connection="close"), "HTTPConnectionClosed|no prediction"),
        (says(503, "{}", Retry_After="1"), "it refused all"),
        (says(503, "{}"), "status 503"),
    ],
    ids=["500", "unknown", "empty", "cut", "refused", "503 without Retry-After"],
)
def test_a_server_that_does_not_predict_fails(
    built: Project, tmp_path: Path, answer: Callable[[bytes], Answer], told: str
) -> None:
    with broken(answer) as url:
        found = problem(load_test(built, tmp_path, "--users", "2", "4", "--url", url, *SOON))
    assert re.search(told, found), found
    # Nobody has to wait for further levels.
    [level] = read_json(tmp_path / "digits8.json")["levels"]
    assert level["answered"] == 0 and level["requests_a_second"] == 0 and level["p50_ms"] is None


@pytest.mark.parametrize("experiment", ["digits8", "shapes"])
def test_one_answer_to_everything_fails(built: Project, tmp_path: Path, experiment: str) -> None:
    bundle = built.json(f"results/bundle/{experiment}/bundle.json")
    with broken(in_schema(bundle)) as url:
        found = problem(load_test(built, tmp_path, "--users", "2", "--url", url, *SOON, experiment=experiment))
    assert "are not those that were evaluated" in found and found.count(".png") == 3, found


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"confidence": float("nan")}, "a number"),
        ({"probabilities": {str(digit): 0.2 for digit in range(10)}}, "the sum, the label"),
        ({"probabilities": {"0": 1.0}}, "the classes"),
        ({"file": "another"}, "the file"),
        ({"label": "unknown"}, "KeyError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_cannot_be_fails(built: Project, tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    with broken(in_schema(built.json("results/bundle/digits8/bundle.json"), **wrong)) as url:
        assert told in problem(load_test(built, tmp_path, "--users", "1", "--url", url, *SOON))


def test_another_bundle_fails(built: Project, tmp_path: Path) -> None:
    bundle = built.json("results/bundle/digits8/bundle.json") | {"id": "another"}
    with broken(in_schema(bundle)) as url:
        assert "the bundle cannot be right" in problem(load_test(built, tmp_path, "--users", "1", "--url", url, *SOON))


def test_a_server_that_hangs_fails(built: Project, tmp_path: Path) -> None:
    def answer(asked: bytes) -> Answer:
        time.sleep(HANGS_S)
        return says(200, "{}")(asked)

    with broken(answer) as url:
        assert "timed out" in problem(load_test(built, tmp_path, "--users", "2", "--url", url, *SOON))


def test_a_server_that_is_not_there_fails(built: Project, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        # It is taken, and nobody listens.
        assert "ConnectionRefusedError" in problem(load_test(built, tmp_path, "--users", "2", "--url", url, *SOON))


def test_an_experiment_that_is_not_built_is_told_in_two_lines(built: Project, tmp_path: Path) -> None:
    status, printed = load_test(built, tmp_path, experiment="nothing")
    assert status == 1
    error, remedy = printed.splitlines()
    assert "results/bundle/nothing/bundle.json" in error and "built" in remedy


def test_a_load_test_that_is_told_to_end_leaves_no_server(built: Project, tmp_path: Path) -> None:
    command = [sys.executable, str(CHECKOUT / "benchmarks/loadtest.py"), "--experiment", "digits8"]
    process = subprocess.Popen([*command, "--out", str(tmp_path)], cwd=built.root, stderr=subprocess.DEVNULL)
    log, end = tmp_path / "digits8.server.log", time.monotonic() + 120
    while not (log.is_file() and "/predict" in log.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(90) == 143
    port = int(json.loads(log.read_text().splitlines()[0])["message"].rpartition(":")[2])
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_pictures_that_differ_are_counted_once_and_over_all_levels() -> None:
    plan = {"runtimes": {"int8": 1}, "pictures": [{"path": "a.png"}, {"path": "b.png"}]}
    common = {"asked": 4, "refused": 0, "failures": {}, "examples": [], "began_s": 0.0, "ended_s": 2.0}
    first = common | {"times_ms": [1.0] * 4, "different": {"int8": {"0": 1}}, "differing": {"0": 2}}
    second = first | {"different": {"int8": {"1": 1}}, "differing": {"1": 3}}
    different: dict[str, dict[str, int]] = {}
    for _ in range(2):
        level = measure(1, first, plan, different)
        assert (level["answered"], level["failures"], level["requests_a_second"]) == (4, 0, 2.0)
    level = measure(2, second, plan, different)
    assert (level["answered"], level["failures"]) == (1, 3)
    assert level["examples"] == ["b.png: 2 decisions of int8 are not those that were evaluated, and 1 may differ"]
    # One whose user was ended before it had an answer.
    assert measure(1, first | {"asked": 5}, plan, {})["failures"] == 1
