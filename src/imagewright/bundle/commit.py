"""Which commit the code is at, and whether it was edited since."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "IMAGEWRIGHT_COMMIT"
"""Names the commit where the code arrives without its repository: in an image, or in a cloud's job."""

# `dvc repro` itself writes it while the stages run, so it would make every tree look edited.
UNCOUNTED = "dvc.lock"
TIMEOUT_S = 60


@dataclass(frozen=True)
class CodeState:
    """A commit in hexadecimal, and whether anything in the tree differs from it; None where nobody knows."""

    commit: str | None
    dirty: bool | None


def code_state(workflow: Path) -> CodeState:
    """Ask Git, or else the environment variable `IMAGEWRIGHT_COMMIT`, in which only the commit can be told.

    Files that Git does not ignore and does not know yet count as edits: a new config decides a result as well.

    Args:
        workflow: the Snakefile. A repository that does not hold it is somebody else's: a copy of the project within
            another repository is not at that one's commit.
    """
    if _git(workflow.parent, "ls-files", "--error-unmatch", "--", workflow.name):
        commit = _git(workflow.parent, "rev-parse", "--verify", "HEAD")
        changes = _git(workflow.parent, "status", "--porcelain", "--", ".", f":(exclude){UNCOUNTED}")
        if commit and changes is not None:
            return CodeState(commit, bool(changes))
    return CodeState(os.environ.get(VARIABLE, "").strip() or None, None)


def _git(folder: Path, *arguments: str) -> str | None:
    """What Git answers, or None where it is not there or refuses; it writes nothing, not even its index."""
    program = shutil.which("git")
    if program is None:
        return None
    command = [program, "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
