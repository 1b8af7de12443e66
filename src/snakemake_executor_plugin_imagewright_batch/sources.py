"""The code and the configuration that jobs get: what Git tracks, as it is on the person's disk."""

import os
import subprocess
import tarfile
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError

DECIDING = ("Snakefile", "config", "envs", "scripts", "src", "workflow")


def pack(root: Path, archive_file: Path) -> None:
    """Write an archive of what is tracked, which is the same whenever the files are.

    Args:
        root: the project's folder.
        archive_file: the file to write.

    Raises:
        WorkflowError: there is no repository, or a file that decides what is built is not tracked.
    """
    if new := _git(root, "--others", "--exclude-standard", "--", *DECIDING):
        more = f", nor are {len(new) - 1} other files" if len(new) > 1 else ""
        raise WorkflowError(
            f"error: {new[0]} is not tracked by Git{more}, so the jobs would not have it\n"
            f"  add it: git add {' '.join(new)}"
        )
    with tarfile.open(archive_file, mode="w") as archive:
        for path in sorted(_git(root)):
            # A file that was deleted is tracked until the next commit.
            if os.path.lexists(root / path):
                archive.add(root / path, arcname=path, recursive=False, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _git(root: Path, *arguments: str) -> list[str]:
    command = ["git", "-C", str(root), "ls-files", "-z", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise WorkflowError(f"error: Git does not start: {error}\n  install it") from None
    if done.returncode:
        raise WorkflowError(
            f"error: jobs get what Git tracks, and Git says: {done.stderr.strip()}\n"
            "  work in a clone, or make a repository: git init && git add ."
        )
    return [path for path in done.stdout.split("\0") if path]
