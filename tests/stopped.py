"""What a person sees when the workflow stops: two lines that say it all, no traceback, no output left behind."""

import re
import subprocess
from collections.abc import Iterable

from conftest import Project

DIGITS = ("--config", "experiments=digits8")
SHAPES = ("--config", "experiments=shapes")


def check_stopped(
    project: Project, done: subprocess.CompletedProcess[str], *words: str, absent: Iterable[str] = ()
) -> str:
    """Check that a call failed as it should, and return its message.

    Args:
        project: where it ran.
        done: the finished call.
        words: what its two lines must hold.
        absent: files and folders of the stage that stopped; none may be there, a folder may be there empty.
    """
    assert done.returncode != 0, done.stdout[-3000:]
    assert "Traceback" not in done.stdout, done.stdout[-6000:]
    found = re.search(r"^error: \S.*\n  \S.*$", done.stdout, re.MULTILINE)
    assert found, done.stdout[-3000:]
    for word in words:
        assert word in found.group(), f"{word!r} is not in: {found.group()}"
    for path in absent:
        left = project.root / path
        assert not left.is_file() and not (left.is_dir() and any(left.iterdir())), f"{path} was left behind"
    return found.group()


def check_passes(project: Project, *paths: str) -> None:
    """Check that the clean twin made the same outputs."""
    for path in paths:
        assert (project.root / path).is_file(), f"the clean twin has no {path}"
