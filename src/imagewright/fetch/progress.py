"""A bar for bytes, quiet where nobody watches."""

import sys
from typing import Never

from tqdm import tqdm


def byte_bar(what: str, total: int | None = None, done: int = 0) -> "tqdm[Never]":
    """A progress bar that counts bytes; none appears where the standard error is no terminal.

    Args:
        what: the word in front of it.
        total: how many bytes there are, if that is known.
        done: how many of them are there already.
    """
    return tqdm(total=total, initial=done, desc=what, unit="B", unit_scale=True, disable=None, file=sys.stderr)


def say(what: str) -> None:
    """Write a line to the standard error, above any bar."""
    tqdm.write(f"fetch: {what}", file=sys.stderr)
