"""What every way of bringing a file has in common."""

from collections.abc import Iterator
from dataclasses import dataclass

CHUNK = 1 << 20
"""Bytes that are read and written at a time."""


@dataclass(frozen=True)
class Transfer:
    """A file that is on its way, from its beginning or from where an earlier transfer ended.

    Attributes:
        start: where `chunks` begin in the file, in bytes: where the caller wanted to go on, or 0.
        total: the size of the whole file in bytes, where the other side says it.
        version: what tells this content from any other at the same address; None where nobody can go on later.
        chunks: the bytes, in order. Reading them raises BrokenOff or SourceError.
    """

    start: int
    total: int | None
    version: str | None
    chunks: Iterator[bytes]


class BrokenOff(Exception):
    """A transfer did not begin or did not come to its end; another attempt may. Its text is the reason."""
