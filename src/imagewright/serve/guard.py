"""Who may ask, and how often."""

import hashlib
import hmac
import os
import time
from http import HTTPStatus

from fastapi import Request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from imagewright.errors import ServeError
from imagewright.serve.problems import Problem

KEYS = "IMAGEWRIGHT_API_KEYS_SHA256"
"""Hashes of the keys that may ask, separated by commas: the keys themselves are written nowhere."""
DIGITS = 64


class Guard:
    """Checks a request's key and its client's rate.

    Args:
        rate: for example "100/minute"; None: no limit.

    Raises:
        ServeError: the rate or a hash is not one.
    """

    def __init__(self, rate: str | None) -> None:
        given = os.environ.get(KEYS, "")
        self._hashes = [part.strip().lower() for part in given.split(",") if part.strip()]
        if any(len(one) != DIGITS or set(one) - set("0123456789abcdef") for one in self._hashes):
            raise ServeError(f"{KEYS} holds something that is no SHA-256", "make one: printf %s <key> | sha256sum")
        try:
            self._rate = parse(rate) if rate else None
        except ValueError as error:
            raise ServeError(f"serve.rate_limit: {rate!r} is no rate", "write for example 100/minute") from error
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, request: Request) -> None:
        """Let a request pass.

        Raises:
            Problem: 401 without a key that is known, 429 where its client has asked too often.
        """
        key = self._key(request)
        client = key or (request.client.host if request.client else "")
        if self._rate and not self._limiter.hit(self._rate, client):
            again = max(1, round(self._limiter.get_window_stats(self._rate, client).reset_time - time.time()))
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {self._rate}: ask again in {again} s",
                {"Retry-After": str(again)},
            )

    def _key(self, request: Request) -> str | None:
        """The hash of the key that a request has; None where none is needed."""
        if not self._hashes:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = request.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
        digest = hashlib.sha256(given.encode()).hexdigest()
        # Each is compared, and in constant time: how long it takes tells nothing.
        if not sum(hmac.compare_digest(digest, known) for known in self._hashes):
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "a key is needed: send it as X-API-Key", {"WWW-Authenticate": "Bearer"}
            )
        return digest
