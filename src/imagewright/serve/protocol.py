"""HTTP/1.1 as uvicorn speaks it, with limits on what comes before the application sees a request.

uvicorn itself takes headers of any size, waits for them for ever, and says in plain text what it cannot parse.
"""

import asyncio
import logging
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from imagewright.serve.envelope import HEADERS
from imagewright.serve.problems import Problem, answer

MAX_HEADER_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 64_000_000
"""Most clients look for an answer when they have sent all: one that was refused may go on for so long."""
GRACE_S = 1.0
"""The application has its own limit for the body, and tells of it better."""
LOGGER = logging.getLogger(__name__)


class BoundedProtocol(HttpToolsProtocol):
    """One connection; a request's line and headers are limited in size, and the whole of it in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        self._in_headers, self._begun, self._received, self._parsed = True, False, 0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._expect(over=True)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what may be headers without an end."""
        self._received += len(data)
        super().data_received(data)
        if self._in_headers and self._received > MAX_HEADER_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")

    def on_message_begin(self) -> None:
        """Start to count, and to wait."""
        self._in_headers, self._begun, self._received, self._parsed = True, True, 0, 0
        self._expect()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count it."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it."""
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Leave what follows to the application."""
        self._in_headers, self._discarded = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Throw away what comes after the answer, but not for ever."""
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > MAX_DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here; between two of them, uvicorn's own limit holds."""
        self._expect(over=True)
        self._in_headers, self._begun, self._received = True, False, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Tell what the parser refused in the form of every other problem."""
        if self._parsed > MAX_HEADER_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "this is not HTTP as it should be")

    def _count(self, *parts: bytes) -> None:
        self._parsed += sum(map(len, parts))
        if self._parsed > MAX_HEADER_BYTES:
            raise ValueError  # the parser stops, and `send_400_response` follows

    def _expect(self, over: bool = False) -> None:
        if self._timer:
            self._timer.cancel()
        seconds = self.app_state["timeout_s"] + GRACE_S
        self._timer = None if over else self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self._in_headers and self._begun:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the headers took too long to arrive")
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        if self.transport.is_closing():
            return
        LOGGER.warning("%d %s", status, detail)
        told = answer(Problem(status, detail, {**HEADERS, "X-Bundle-Id": self.app_state["bundle"]}))
        lines = [b"%s: %s\r\n" % header for header in told.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"connection: close\r\n\r\n", bytes(told.body)]))
        self.transport.close()
