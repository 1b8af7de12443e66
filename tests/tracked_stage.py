"""Run a tracked stage in a folder of its own, away from this user's W&B account."""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from wandb_server import clean

STAGE = Path(__file__).with_name("tracking") / "stage.py"


@dataclass(frozen=True)
class Done:
    """A stage that has ended."""

    code: int
    said: str
    seconds: float

    @property
    def tracked_for(self) -> float:
        """Seconds from the beginning of the tracked block to its end."""
        found = re.search(r"finished ([\d.]+)", self.said)
        assert found, self.said
        return float(found.group(1))


def home_of(folder: Path) -> Path:
    """The home of who works in `folder`; empty at first, and not in it."""
    return folder.with_name(f"{folder.name}.home")


def run_stage(folder: Path, *arguments: object, **variables: str) -> Done:
    """Start stage.py with these arguments and variables; it writes to `runs/wandb` below `folder`."""
    started = time.monotonic()
    done = _run(folder, variables, str(STAGE), "runs/wandb", *map(str, arguments))
    return Done(done.returncode, done.stdout, time.monotonic() - started)


def run_wandb(folder: Path, *arguments: str, **variables: str) -> str:
    """Run the command `wandb` in `folder`; it has to succeed. What it printed."""
    done = _run(folder, variables, "-m", "wandb", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def _run(folder: Path, variables: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=clean(home_of(folder), **variables), check=False, text=True,
        timeout=240, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
