"""Around every request: its number, its time, its line in the log, its counters, and headers that protect browsers."""

import itertools
import json
import secrets
import sys
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagewright.serve import problems
from imagewright.serve.problems import Problem

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
ALWAYS = 1_000_000
"""Bytes of its body that every request may send: those that send large pictures keep nobody else out."""
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Counters:
    """What `/metrics` tells."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "imagewright_requests", "Requests, by path and status", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "imagewright_request_seconds", "Time to answer", ["path"], buckets=BUCKETS, registry=self.registry
        )
        self.predictions = Counter("imagewright_predictions", "Pictures, by label", ["label"], registry=self.registry)
        self.waiting = Gauge("imagewright_waiting", "Pictures accepted and not answered", registry=self.registry)


class Envelope:
    """ASGI middleware.

    Args:
        app: what answers.
        counters: to count in.
        bundle: the id that every answer has.
        paths: those that are counted by name; all others are counted together, since anybody can think of more.
        most: bytes of bodies that are held at the same time, of all requests; beyond, one is told 503.
    """

    def __init__(self, app: ASGIApp, counters: Counters, bundle: str, paths: frozenset[str], most: float) -> None:
        self._app, self._counters, self._bundle, self._paths, self._most = app, counters, bundle, paths, most
        self._held = 0
        # Counted on from a number that no other process has: to ask the system each time takes longer than all this.
        self._numbers = itertools.count(secrets.randbits(63))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, number, status = time.perf_counter(), f"{next(self._numbers):016x}", 0
        scope.setdefault("state", {})["request_id"] = number

        async def enveloped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**HEADERS, "X-Request-Id": number, "X-Bundle-Id": self._bundle}.items():
                    headers[name] = value
            await send(message)

        held = 0

        async def measured() -> Message:
            nonlocal held
            message = await receive()
            size = len(message.get("body", b""))
            if self._held + size > self._most and held + size > ALWAYS:
                raise problems.busy("too much is sent at the same time; ask again")
            held += size
            self._held += size
            return message

        error: Exception | None = None
        try:
            await self._app(scope, measured, enveloped)
        except Exception as raised:  # a bug of ours: it is told in the log, and not to the client
            error = raised
            if not status:
                told = problems.answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"this is our fault; number {number}"))
                await told(scope, receive, enveloped)
        finally:
            self._held -= held
            seconds = time.perf_counter() - started
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._counters.requests.labels(path, str(status)).inc()
            self._counters.seconds.labels(path).observe(seconds)
            _log(scope, number, status, seconds, error)


def _log(scope: Scope, number: str, status: int, seconds: float, error: Exception | None) -> None:
    """One JSON line: nothing of the picture, and nobody's address or key."""
    line: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "error" if error else "info",
        "request": number,
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 2),
    }
    if error:
        line["error"] = f"{type(error).__name__}: {error}"
    sys.stderr.write(json.dumps(line) + "\n")
