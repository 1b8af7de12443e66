"""Run the API: find a port, say where it is, and finish what was accepted before going."""

import ctypes
import json
import logging
import math
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from imagewright.errors import ServeError
from imagewright.serve.protocol import BoundedProtocol

BACKLOG = 2048
# The names of two options in glibc's `malloc.h`.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGE = 4 * 1024 * 1024
"""In bytes: more than a picture in the size of most models, and less than a photograph."""


def give_memory_back() -> None:
    """Let glibc give large pieces back when they are freed; else it keeps those of each thread for later ones.

    Smaller ones are kept, since to ask the system for fresh memory for each costs up to a tenth of all time.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, 4 * LARGE)


def listen(host: str, port: int) -> socket.socket:
    """Take a port, before anything large is loaded.

    Args:
        host: the address to listen at.
        port: 0 takes any free one.

    Raises:
        ServeError: it is taken, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
        # Until then another one could take it, too. Who asks early waits until the model is loaded.
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        raise ServeError(f"{host}:{port}: {error.strerror}", "take another one: --port 8001; or 0 for any") from error
    return server


def run(app: FastAPI, server: socket.socket, shutdown_s: float, ready: Path | None = None) -> None:
    """Answer until told to stop; then answer what was accepted.

    Args:
        app: the application.
        server: a port that was taken.
        shutdown_s: how long accepted requests may take to end.
        ready: a file to write the address to.

    Raises:
        ServeError: not all that was accepted could be logged.
    """
    lines = logging.StreamHandler()
    lines.setFormatter(_JsonLine())
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    # What is wrong with a request or a picture is told to who sent it.
    for name, level in (("PIL", logging.CRITICAL), ("python_multipart", logging.CRITICAL), ("uvicorn", logging.ERROR)):
        logging.getLogger(name).setLevel(level)
    host, port = server.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    config = uvicorn.Config(
        app, http=BoundedProtocol, ws="none", log_config=None, access_log=False, server_header=False,
        date_header=False, proxy_headers=False, timeout_keep_alive=10, backlog=BACKLOG,
        timeout_graceful_shutdown=math.ceil(shutdown_s),
    )  # fmt: skip
    runner = uvicorn.Server(config)
    # uvicorn raises the signal again in the end, which would kill us: that we were told to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, runner.handle_exit)
    sys.stderr.write(json.dumps({"level": "info", "message": f"listening on {url}"}) + "\n")
    if ready:
        aside = ready.with_name(f".{ready.name}.partial")
        aside.write_text(url)
        aside.replace(ready)
    runner.run([server])
    if app.state.failed:
        raise app.state.failed


class _JsonLine(logging.Formatter):
    """What libraries warn of, in the form of our own lines."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return json.dumps({"level": record.levelname.lower(), "message": f"{record.name}: {text}"})
