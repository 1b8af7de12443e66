"""What goes wrong, told as RFC 9457 says: never a 200, always the same form."""

from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1


class Problem(Exception):
    """An answer that is no prediction.

    Args:
        status: the HTTP status.
        detail: what is wrong with this request, and what to do.
        headers: more of them.
        about: further members of the body.
    """

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None, **about: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.about = status, detail, headers or {}, about


def busy(detail: str) -> Problem:
    """What to say where there is no room now; the client is told when to come again."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)})


def answer(problem: Problem) -> JSONResponse:
    """The answer to send: `type`, `title`, `status` and `detail`, with the problem's own members."""
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": problem.detail,
        **problem.about,
    }
    return JSONResponse(body, problem.status.value, problem.headers, MEDIA_TYPE)


async def on_problem(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's handler for `Problem`."""
    assert isinstance(error, Problem)
    return answer(error)


SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
