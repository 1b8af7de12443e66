"""A file at an `https:`, `http:` or `file:` address."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.message import Message
from typing import Any

from imagewright.errors import SourceError
from imagewright.fetch.transfer import CHUNK, BrokenOff, Transfer

TIMEOUT_S = 60
PASSING = {408, 425, 429, 500, 502, 503, 504}
RANGE_NOT_SATISFIABLE = 416
PARTIAL_CONTENT = 206


@contextmanager
def from_web(url: str, start: int = 0, version: str | None = None) -> Iterator[Transfer]:
    """Ask for a file, or for the rest of it (RFC 9110, sections 13.1.5 and 14).

    Args:
        url: the address.
        start: how many bytes are there already.
        version: the ETag or the date of the file that they belong to. Where the server has another file now, does
            not know ranges or answers with another part, the transfer starts at 0.

    Raises:
        SourceError: the server refuses, or there is no such file.
        BrokenOff: the server cannot be reached, or is busy.
    """
    asked = {"Range": f"bytes={start}-", "If-Range": version} if start and version else {}
    response = _open(url, asked)
    rest = response.status == PARTIAL_CONTENT and _goes_on(response.headers, start, version)
    if asked and response.status in (PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE) and not rest:
        response.close()
        asked = {}
        response = _open(url, asked)
    with closing(response):
        headers = response.headers
        if asked and rest:
            total = headers["Content-Range"].rpartition("/")[2]
            yield Transfer(start, int(total) if total != "*" else None, version, _chunks(response))
            return
        found = _version(headers)
        # The same file, and still all of it: this server does not do ranges, whatever it says.
        if (asked and found == version) or headers.get("Accept-Ranges") == "none" or response.status is None:
            found = None
        length = headers.get("Content-Length", "")
        yield Transfer(0, int(length) if length.isdecimal() else None, found, _chunks(response))


def _open(url: str, headers: dict[str, str]) -> Any:
    try:
        # The config schema admits https, http and file addresses only.
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == RANGE_NOT_SATISFIABLE and headers:
            return error
        with error:
            if error.code in PASSING:
                raise BrokenOff(f"{error.reason} ({error.code})") from error
            raise SourceError(f"{url}: {error.reason} ({error.code})", "check the address") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise BrokenOff(str(getattr(error, "reason", None) or error)) from error


def _chunks(response: Any) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except http.client.IncompleteRead as error:
        if error.partial:
            yield error.partial
        raise BrokenOff(str(error)) from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise BrokenOff(str(error) or type(error).__name__) from error


def _goes_on(headers: Message, start: int, version: str | None) -> bool:
    """Whether an answer is the rest of the very file that the first `start` bytes are of."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", headers.get("Content-Range", ""))
    return found is not None and int(found[1]) == start and _version(headers) in (None, version)


def _version(headers: Message) -> str | None:
    """What `If-Range` takes: a strong ETag, else the date; the checksum of the whole has the last word anyway."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified")
