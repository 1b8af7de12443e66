"""Bring one file whole, however often the way there breaks off, and check it against its SHA-256."""

import time
from collections.abc import Callable

from imagewright.errors import SourceError
from imagewright.fetch.bucket import from_bucket
from imagewright.fetch.partial import Partial
from imagewright.fetch.progress import byte_bar, say
from imagewright.fetch.transfer import BrokenOff
from imagewright.fetch.web import from_web

PAUSES_S = (1, 2, 4, 8, 16)


def download(url: str, sha256: str, limit: int, partial: Partial, still_ours: Callable[[], None]) -> None:
    """Bring the file at `url`, going on from what is there already.

    A transfer that breaks off is taken up again a few times, where this run has got any bytes and the other side can
    go on. What has arrived stays for the next run if that can go on from it.

    Args:
        url: an `https:`, `http:`, `file:` or `gs:` address.
        sha256: the SHA-256 of the whole file, the bytes that were there already included.
        limit: the largest size, in bytes.
        partial: where the bytes go; all of them are there afterwards.
        still_ours: called at every step; see `imagewright.fetch.claim.claimed`.

    Raises:
        SourceError: unreachable, refused, larger than the limit, or another checksum.
        SupersededError: a newer fetch has taken over.
    """
    partial.recall(still_ours)
    # All of it had come when an earlier run was killed.
    if partial.size and partial.sha256 == sha256:
        return
    try:
        _bring(url, sha256, limit, partial, still_ours)
    except SourceError:
        if not (partial.size and partial.version):
            partial.discard()
        raise
    if partial.sha256 != sha256:
        partial.discard()
        raise SourceError(
            f"{url}: its sha256 is {partial.sha256}, not {sha256}",
            "check the address; if the new content is wanted, correct source.sha256 in config/data/",
        )


def _bring(url: str, sha256: str, limit: int, partial: Partial, still_ours: Callable[[], None]) -> None:
    for pause in (*PAUSES_S, None):
        try:
            _take(url, limit, partial, still_ours)
            return
        except BrokenOff as error:
            # Where nobody says how long the file is, it may be whole although its transfer did not end well.
            if partial.sha256 == sha256:
                return
            if pause is None or not partial.arrived or not partial.version:
                kept = " (what has come is kept)" if partial.size and partial.version else ""
                raise SourceError(
                    f"{url}: {error}", f"check the address and the network, then try again{kept}"
                ) from error
            say(f"{error}; going on in {pause} s")
        for _ in range(pause):
            still_ours()
            time.sleep(1)


def _take(url: str, limit: int, partial: Partial, still_ours: Callable[[], None]) -> None:
    """One attempt: from where the partial file ends, if the other side can do that, else from the beginning."""
    begin = from_bucket if url.startswith("gs://") else from_web
    with begin(url, partial.size, partial.version) as transfer:
        if transfer.start == 0:
            partial.restart(transfer.version)
        _check_size(url, transfer.total or 0, limit, partial)
        with byte_bar("download", transfer.total, partial.size) as bar:
            try:
                for chunk in transfer.chunks:
                    still_ours()
                    _check_size(url, partial.size + len(chunk), limit, partial)
                    partial.append(chunk)
                    bar.update(len(chunk))
            except BrokenOff as error:
                raise BrokenOff(f"{_broke_off(partial, transfer.total)} ({error})") from error
        if transfer.total is not None and partial.size != transfer.total:
            raise BrokenOff(_broke_off(partial, transfer.total))


def _broke_off(partial: Partial, total: int | None) -> str:
    return f"the transfer broke off at {partial.size}{f' of {total}' if total else ''} bytes"


def _check_size(url: str, size: int, limit: int, partial: Partial) -> None:
    if size > limit:
        partial.discard()
        raise SourceError(f"{url}: larger than {limit / 1e9:g} GB", "raise source.max_gb if that is right")
