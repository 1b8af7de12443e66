"""The web page: drop a picture, see what the model says. It asks the API over HTTP and loads no model itself."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

from imagewright.errors import ServeError

API = "IMAGEWRIGHT_API"
"""The variable with the API's address."""
PAGE = Path(__file__).with_name("page.py")
MOST_MB = 32
STOP_S = 10
OPTIONS = {
    # Nothing is told to anybody, and no browser is opened.
    "browser.gatherUsageStats": "false",
    "server.headless": "true",
    # Streamlit's welcome would ask the internet for this machine's address.
    "logger.hideWelcomeMessage": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": str(MOST_MB),
    "client.toolbarMode": "minimal",
    # A bug's traceback goes to the terminal, not to whoever looks at the page.
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "runner.magicEnabled": "false",
}


def run_ui(host: str, port: int, api: str | None) -> int:
    """Show the page until it is told to stop, by Ctrl-C or SIGTERM.

    Args:
        host: the address to listen at.
        port: 0 takes any free one.
        api: the API's address; by default what `IMAGEWRIGHT_API` says.

    Returns:
        The exit status: 0 where it was told to stop.

    Raises:
        ServeError: Streamlit is not installed, the port is taken, or there is no such address.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise ServeError("Streamlit, which shows the page, is not installed", "pip install -e '.[ui]'")
    port = _free(host, port)
    given = {**OPTIONS, "server.address": host, "server.port": str(port)}
    options = [f"--{name}={value}" for name, value in given.items()]
    command = [sys.executable, "-m", "streamlit", "run", *options, str(PAGE)]
    # No session of its own, so that a terminal's Ctrl-C reaches it too.
    child = subprocess.Popen(command, env=os.environ | ({API: api} if api else {}))  # noqa: S603

    def stop(number: int, frame: FrameType | None) -> None:
        child.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    sys.stderr.write(f"the page: http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)\n")
    try:
        return _told_to_stop(child.wait())
    except KeyboardInterrupt:
        return _ended(child)
    finally:
        signal.signal(signal.SIGTERM, before)
        if child.poll() is None:
            child.kill()


def _free(host: str, port: int) -> int:
    """The port, or one that is free; taken for a moment, since Streamlit itself would only print that it cannot."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServeError(
                f"{host}:{port}: {error.strerror}", "take another one: --port 8502; or 0 for any"
            ) from error
        return int(probe.getsockname()[1])


def _ended(child: "subprocess.Popen[bytes]") -> int:
    """Wait for a child that was told to stop too, and help where it does not."""
    try:
        return _told_to_stop(child.wait(STOP_S))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()
        return 0


def _told_to_stop(status: int) -> int:
    return 0 if status in (-signal.SIGINT, -signal.SIGTERM) else status
