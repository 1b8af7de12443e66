"""Run the API: find a port, say where it is, and finish what was accepted before going."""

import json
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from imagewright.errors import ServeError


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
    """
    host, port = server.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, date_header=False, proxy_headers=False,
        timeout_keep_alive=10, timeout_graceful_shutdown=round(shutdown_s), h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip
    sys.stderr.write(json.dumps({"level": "info", "message": f"listening on {url}"}) + "\n")
    if ready:
        aside = ready.with_name(f".{ready.name}.partial")
        aside.write_text(url)
        aside.replace(ready)
    uvicorn.Server(config).run([server])
