"""A file in a bucket of Google Cloud Storage, read block by block."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from imagewright.errors import SourceError
from imagewright.fetch.transfer import BrokenOff, Transfer

EMULATOR = "STORAGE_EMULATOR_HOST"
BLOCK = 32 << 20
PATIENCE_S = 8
BLOCK_PATIENCE_S = 300
LOG_IN = (
    "log in (gcloud auth application-default login), or let GOOGLE_APPLICATION_CREDENTIALS name a key file; "
    "a public file also has an https address"
)


@contextmanager
def from_bucket(url: str, start: int = 0, version: str | None = None) -> Iterator[Transfer]:
    """Ask for a file in a bucket, or for the rest of it, with Google's application default credentials.

    Args:
        url: `gs://bucket/path`.
        start: how many bytes are there already.
        version: the generation of the object that they belong to; of another one the transfer starts at 0.

    Raises:
        SourceError: no credentials, no such file, or no right to read it.
        BrokenOff: Google cannot be reached.
    """
    path = url.removeprefix("gs://")
    files = _file_system(url)
    with _explained(url, PATIENCE_S):
        about = files.info(path, timeout=PATIENCE_S)
    if about["type"] != "file":
        raise SourceError(f"{url}: this is a folder", "give the address of the archive itself")
    total, generation = int(about["size"]), str(about["generation"])
    begin = start if generation == version else 0

    def blocks() -> Iterator[bytes]:
        for first in range(begin, total, BLOCK):
            end = min(first + BLOCK, total)
            with _explained(url, BLOCK_PATIENCE_S):
                # The generation is named, so that no block can be of a file that took its place meanwhile.
                try:
                    block = files.cat_file(path, start=first, end=end, generation=generation, timeout=BLOCK_PATIENCE_S)
                except FileNotFoundError as error:
                    raise BrokenOff("the file was replaced or removed meanwhile") from error
            if len(block) != end - first:
                raise BrokenOff(f"{len(block)} bytes came where {end - first} were asked for")
            yield block

    yield Transfer(begin, total, generation, blocks())


def _file_system(url: str) -> Any:
    # On a machine outside of Google's cloud, google-auth asks three times, 12 s in all, for a service that is not
    # there. Inside of it, the machine's own description says so even where the first answer is late.
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")
    try:
        # The class without gRPC: of what the other one adds, a file that is read from end to end needs nothing.
        from gcsfs.core import GCSFileSystem
    except ImportError as error:
        raise SourceError(
            f"the package {error.name} is not installed", "install it: pip install -e '.[data]'"
        ) from error
    # gcsfs writes tracebacks to its log, and Python shows a log that nobody listens to.
    logging.getLogger("gcsfs").addHandler(logging.NullHandler())
    token = "anon" if os.environ.get(EMULATOR) else "google_default"
    with _explained(url, PATIENCE_S):
        files = GCSFileSystem(token=token, access="read_only", skip_instance_cache=True)
        # Here and not with the first request, for which gcsfs would try a refused token six times in half a minute.
        files.credentials.maybe_refresh()
    return files


@contextmanager
def _explained(url: str, patience: float) -> Iterator[None]:
    """Say in our words what gcsfs and google-auth raise."""
    from gcsfs.retry import RETRIABLE_EXCEPTIONS, HttpError
    from google.auth.exceptions import GoogleAuthError, TransportError

    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"{url}: there is no such bucket or file", "check the address") from error
    except TransportError as error:
        raise BrokenOff(_reason(error)) from error
    except GoogleAuthError as error:
        raise SourceError(f"{url}: no valid Google credentials ({_reason(error)})", LOG_IN) from error
    except HttpError as error:
        if error.code in (401, "401"):
            cause = error.__cause__ or error
            raise SourceError(f"{url}: the credentials were refused ({_reason(cause)})", LOG_IN) from error
        raise BrokenOff(_reason(error)) from error
    except TimeoutError as error:
        raise BrokenOff(f"no answer within {patience:g} s") from error
    except RETRIABLE_EXCEPTIONS as error:
        raise BrokenOff(_reason(error)) from error
    except (OSError, ValueError) as error:
        if str(error).startswith("Forbidden"):
            raise SourceError(
                f"{url}: forbidden ({_reason(error)})",
                "give this account the right to read it (roles/storage.objectViewer), or log in with another one",
            ) from error
        raise SourceError(f"{url}: {_reason(error)}", "check the address") from error


def _reason(error: BaseException) -> str:
    """The last line of a library's message; gcsfs puts the address above it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
