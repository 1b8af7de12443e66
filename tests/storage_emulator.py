"""Google Cloud Storage's protocol on loopback: a real emulator as a process of its own, and its buckets.

It knows no accounts, no rights and no generations: what passes here has met the protocol, not Google's service.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil
from processes import end

START_S = 30
STOP_S = 10
TRIES = 5


@contextmanager
def storage_emulator(folder: Path, *buckets: str) -> Iterator[str]:
    """Run the emulator until the block ends.

    Args:
        folder: where it keeps what is uploaded, and its log.
        buckets: the empty buckets to make.

    Yields:
        Its address, as STORAGE_EMULATOR_HOST and DVC's `endpointurl` take it.
    """
    for _ in range(TRIES):
        process, url = _start(folder)
        try:
            # Between our look and its start somebody else may have taken the port.
            if not _answers(process, url):
                continue
            for bucket in buckets:
                create_bucket(url, bucket)
            yield url
            return
        finally:
            end(process, STOP_S)
    raise RuntimeError(f"the storage emulator does not start: {(folder / 'log').read_text()[-2000:]}")


def environment(url: str) -> dict[str, str]:
    """The variables of this process and those that send Google's clients to the emulator."""
    # gcsfs otherwise asks by gRPC, which the emulator does not speak, and waits for a minute.
    return os.environ | {"STORAGE_EMULATOR_HOST": url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


def create_bucket(url: str, bucket: str) -> None:
    """Make an empty bucket."""
    _send("POST", f"{url}/storage/v1/b", json.dumps({"name": bucket}).encode(), "application/json")


def upload(url: str, bucket: str, name: str, content: bytes) -> None:
    """Put an object into a bucket, in place of any that has its name."""
    address = f"{url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
    _send("POST", address, content, "application/octet-stream")


def delete(url: str, bucket: str, name: str) -> None:
    """Delete an object."""
    _send("DELETE", f"{url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}", None, "application/json")


def _send(method: str, address: str, content: bytes | None, kind: str) -> None:
    request = urllib.request.Request(address, content, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=START_S) as response:
        response.read()


def _start(folder: Path) -> tuple["subprocess.Popen[bytes]", str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "gcp_storage_emulator", "--data-dir", folder / "objects",
                "start", "--host=127.0.0.1", f"--port={port}", "--quiet",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    return process, f"http://127.0.0.1:{port}"


def _answers(process: "subprocess.Popen[bytes]", url: str) -> bool:
    """Whether this process, and no other, listens at the address and answers."""
    end, port = time.monotonic() + START_S, int(url.rpartition(":")[2])
    while process.poll() is None and time.monotonic() < end:
        with suppress(psutil.Error, OSError):
            listening = psutil.Process(process.pid).net_connections()
            if any(found.laddr.port == port and found.status == psutil.CONN_LISTEN for found in listening):
                with urllib.request.urlopen(url, timeout=START_S) as response:
                    return response.status == 200
        time.sleep(0.05)
    return False
