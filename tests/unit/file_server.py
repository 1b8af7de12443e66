"""A web server on loopback with one file, which breaks off, forgets ranges or changes the file when it is told to."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

PIECE = 1 << 16
Ranges = Literal["well", "unknown", "refused", "any version", "another part"]


@dataclass(frozen=True)
class Answer:
    """What one request asked and got: its headers, the status, and how many bytes of the file were sent."""

    asked: str | None
    condition: str | None
    status: int
    sent: int


@dataclass
class FileServer:
    """The file, and how it is served from now on.

    Attributes:
        content: the file.
        validators: the headers that tell its version from others.
        ranges: well; unknown (always the whole); refused (says so, and sends the whole); any version (If-Range counts
            for nothing); another part (one byte too early).
        breaks: for each of the next requests, after how many bytes the connection breaks; None: not at all.
        holds: at how many bytes the answer stops and waits until `go_on` is set.
        statuses: for each of the next requests the status that is sent instead of the file; 0: the file.
        chunked: send no length.
        wait_s: pause after each piece of 64 KiB.
        answers: what was asked and sent, in order.
    """

    content: bytes
    validators: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: Ranges = "well"
    breaks: list[int | None] = field(default_factory=list)
    holds: int | None = None
    statuses: list[int] = field(default_factory=list)
    chunked: bool = False
    wait_s: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    url: str = ""
    go_on: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def sent(self) -> list[int]:
        """How many bytes of the file each answer had."""
        return [answer.sent for answer in self.answers]

    @property
    def asked(self) -> list[str | None]:
        """The Range header of each request."""
        return [answer.asked for answer in self.answers]


@contextmanager
def file_server(content: bytes, **how: Any) -> Iterator[FileServer]:
    """Serve `content` on a free port of 127.0.0.1 until the block ends."""
    server = FileServer(content, **how)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            self.close_connection = True
            status = server.statuses.pop(0) if server.statuses else 0
            if status:
                self._note(status, 0)
                self.send_error(status)
                return
            start, ranged = self._range()
            if start >= len(server.content):
                self._note(416, 0)
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = server.content[start:]
            self.send_response(206 if ranged else 200)
            for name, value in server.validators.items():
                self.send_header(name, value)
            if server.ranges == "refused":
                self.send_header("Accept-Ranges", "none")
            if ranged:
                self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
            if server.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            sent = 0
            with suppress(ConnectionError):
                sent = self._send(body)
            self._note(206 if ranged else 200, sent)

        def _range(self) -> tuple[int, bool]:
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if not found or server.ranges in ("unknown", "refused"):
                return 0, False
            condition = self.headers.get("If-Range")
            if condition and condition not in server.validators.values() and server.ranges != "any version":
                return 0, False
            return int(found[1]) - (server.ranges == "another part"), True

        def _send(self, body: bytes) -> int:
            end = server.breaks.pop(0) if server.breaks else None
            body, sent = body[:end], 0
            while sent < len(body):
                if server.holds is not None and sent >= server.holds:
                    server.go_on.wait(60)
                piece = body[sent : sent + PIECE]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if server.chunked else piece)
                sent += len(piece)
                if server.over.wait(server.wait_s):
                    break
            if server.chunked and end is None:
                self.wfile.write(b"0\r\n\r\n")
            return sent

        def _note(self, status: int, sent: int) -> None:
            server.answers.append(Answer(self.headers.get("Range"), self.headers.get("If-Range"), status, sent))

    class Loopback(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that was killed

    with Loopback(("127.0.0.1", 0), Handler) as listener:
        server.url = f"http://127.0.0.1:{listener.server_address[1]}/pets.zip"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.go_on.set()
            listener.shutdown()
            thread.join(10)
