"""A stand-in for the W&B server on loopback: enough of it for runs, files, artifacts and a sweep, well or ill behaved.

It answers what wandb 0.31.0 asks, by the names of its GraphQL operations. It knows nothing of permissions, limits or
consistency: what passes here has met wandb's client, not its server.
"""

import gzip
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import psutil

Behaviour = Literal["well", "refuses", "fails", "babbles", "silent"]
KEY = "0123456789abcdef" * 3


@dataclass
class Received:
    """What arrived for one run."""

    about: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    complete: bool = False


@dataclass
class Server:
    """The stand-in: what it was told, and how it behaves from now on.

    Attributes:
        behaviour: well, or: refuses (401 whatever the key), fails (500), babbles (200 and nonsense), silent.
        lives_for: requests that it answers; then it closes every connection. None for ever.
        trials: what the sweep hands out, one by one.
    """

    url: str = ""
    behaviour: Behaviour = "well"
    lives_for: int | None = None
    requests: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    runs: dict[str, Received] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    used: list[tuple[str, str]] = field(default_factory=list)
    sweep: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def environment(self) -> dict[str, str]:
        """Variables that send wandb here and nowhere else."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def run(self, name: str) -> Received:
        """The run of that id."""
        return self.runs.setdefault(name, Received())

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        handler = getattr(self, f"_on_{operation}", None)
        return handler(given) if handler else {}

    def stream(self, run: str, sent: dict[str, Any]) -> None:
        """Rows of a run, as they come in."""
        received = self.run(run)
        rows = (sent.get("files") or {}).get("wandb-history.jsonl")
        if rows:
            lines = [json.loads(line) for line in rows["content"]]
            received.history[rows["offset"] : rows["offset"] + len(lines)] = lines
        received.complete = received.complete or bool(sent.get("complete"))

    # The names below are wandb's.

    def _on_Viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        teams: dict[str, Any] = {"edges": []}
        who = {"id": "u", "entity": "team", "username": "me", "email": "", "flags": "{}", "teams": teams}
        return {"viewer": who}

    def _on_ServerFeaturesQuery(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _on_RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        bucket = None
        if given["name"] in self.runs:
            received = self.run(given["name"])
            bucket = {
                "id": "b", "name": given["name"], "displayName": "", "summaryMetrics": "{}", "config": "{}",
                "logLineCount": 0, "historyLineCount": len(received.history), "eventsLineCount": 0,
                "historyTail": json.dumps([json.dumps(row) for row in received.history[-1:]]), "eventsTail": "[]",
                "tags": [], "notes": None, "wandbConfig": "{}",
            }  # fmt: skip
        return {"model": {"id": "p", "name": "p", "entity": {"id": "e", "name": "team"}, "bucket": bucket}}

    def _on_UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        known = given["name"] in self.runs
        received = self.run(given["name"])
        received.about |= {key: value for key, value in given.items() if value is not None}
        project = {"id": "p", "name": given["project"] or "imagewright", "entity": {"id": "e", "name": "team"}}
        bucket = {
            "id": "b", "name": given["name"], "displayName": received.about.get("displayName"), "description": "",
            "config": received.about.get("config"), "sweepName": given["sweep"], "project": project,
            "historyLineCount": len(received.history),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": not known}}

    def _on_CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        self.run(given["run"]).files |= set(given["files"])
        files = [{"name": name, "uploadUrl": f"{self.url}/storage/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}

    def _on_CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        self.artifacts.append(given["input"])
        made = {"id": str(len(self.artifacts) - 1), "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": made}}

    def _on_CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        file = {"id": "f", "uploadUrl": f"{self.url}/storage/manifest", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _on_CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                "storagePath": file["name"], "uploadUrl": f"{self.url}/storage/{file['name']}", "uploadHeaders": [],
                "uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]},
            }
            for file in given["input"]["artifactFiles"]
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _on_CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        self.artifacts[int(given["artifactID"])]["committed"] = True
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}

    def _on_UseArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        used = given["input"]
        self.used.append((used["runName"], self.artifacts[int(used["artifactID"])]["artifactCollectionName"]))
        return {"useArtifact": {"artifact": {"id": used["artifactID"]}}}

    def _on_UpsertSweep(self, given: dict[str, Any]) -> dict[str, Any]:
        self.sweep = given
        project = {"id": "p", "name": given["projectName"] or "imagewright", "entity": {"id": "e", "name": "team"}}
        return {"upsertSweep": {"sweep": {"name": "sweep1", "project": project}, "configValidationWarnings": []}}

    def _on_SweepWithRuns(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": "s", "name": "sweep1", "config": self.sweep["config"], "runs": {"edges": []}}
        return {"project": {"sweep": sweep}}

    def _on_CreateAgent(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "agent1"}}}

    def _on_Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        commands: list[dict[str, Any]] = []
        if not json.loads(given["runState"]):  # nothing is running
            next_trial = self.trials.pop(0) if self.trials else None
            commands = [{"type": "run", "program": None, **next_trial} if next_trial else {"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent1"}, "commands": json.dumps(commands)}}


@contextmanager
def wandb_server(behaviour: Behaviour = "well", lives_for: int | None = None) -> Iterator[Server]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    server = Server(behaviour=behaviour, lives_for=lives_for)
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with server.lock:
                dead = server.lives_for is not None and len(server.requests) >= server.lives_for
                if not dead:
                    server.requests.append(f"{self.command} {self.path}")
                    server.keys.add(self.headers.get("Authorization", ""))
            if dead:
                self.close_connection = True
            elif server.behaviour == "silent":
                over.wait(120)
                self.close_connection = True
            elif server.behaviour == "babbles":
                self._reply(200, b"<html>hello</html>")
            elif server.behaviour != "well":
                status = 401 if server.behaviour == "refuses" else 500
                self._reply(status, json.dumps({"errors": [{"message": f"the stand-in says {status}"}]}).encode())
            else:
                self._reply(200, json.dumps(self._answer(body)).encode())

        def _answer(self, body: bytes) -> dict[str, Any]:
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            path = urlparse(self.path).path
            with server.lock:
                if match := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
                    server.stream(match.group(1), json.loads(body))
                    return {"exitcode": None, "limits": {}}
                if path != "/graphql":
                    return {}
                asked = json.loads(body)
                operation = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                server.requests.append(operation.group(1) if operation else "?")
                return {"data": server.answer(server.requests[-1], asked.get("variables") or {})}

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Loopback(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that was killed

    listener = Loopback(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        over.set()
        listener.shutdown()
        listener.server_close()
        thread.join(10)


def free_address() -> str:
    """An address on loopback where nobody listens."""
    with wandb_server() as server:
        url = server.url
    time.sleep(0.05)
    return url


def clean(home: Path, **variables: str) -> dict[str, str]:
    """An environment without anything that concerns W&B, and with an empty home."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    home.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return known | {"HOME": str(home), "PATH": path, "WANDB_ERROR_REPORTING": "false"} | variables


def nothing_left(folder: Path, seconds: float = 10) -> bool:
    """Whether no process works in this folder any more, or will within some seconds."""
    until = time.monotonic() + seconds
    while _works_in(folder):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _works_in(folder: Path) -> bool:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False
