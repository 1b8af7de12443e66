"""Processes that tests have started."""

import subprocess


def end(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """Ask a process to end, where it still runs; kill it where it does not in time."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(patience_s)
