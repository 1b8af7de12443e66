"""The process that sends a run: `wandb beta sync --live <run>`, which ends when the stage does.

Started as `python sender.py <process id of the stage> [<earlier folder of the run> ...] <run folder>`. Alone, `--live`
would wait for ever for the rest of a run whose process was killed.
"""

import os
import sys
import threading
import time


def end_with(parent: int) -> None:
    """End this process soon after `parent` has ended; the service that it started ends with it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def send(earlier: list[str], run: str) -> None:
    """Send what came before as far as it goes, then the run and what is added to it, until it is complete."""
    from wandb.cli.cli import cli

    if earlier:
        cli(["sync", *earlier], standalone_mode=False)
    cli(["beta", "sync", "--live", "--yes", run])


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(int(sys.argv[1]),), daemon=True).start()
    send(sys.argv[2:-1], sys.argv[-1])
