"""Bring back what was recorded in `dvc.lock`, so that the workflow has nothing left to do on a fresh clone.

DVC restores bytes and no times; Snakemake plans by times. So every restored file gets the same time, and the sections
of those jobs whose inputs are others than the recorded ones get a later one.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagewright.bundle.benchmark import forget_benchmarks
from imagewright.config.resolve import UNFINISHED, resolve
from imagewright.errors import PullError
from imagewright.pull.freshness import Job, mark_fresh, mark_stale, stale_jobs
from imagewright.pull.lock import open_repository, read_lock
from imagewright.pull.remote import Missing, download, find_missing
from imagewright.pull.restore import place, prepared, unrecorded


@dataclass(frozen=True)
class Pulled:
    """What a pull did.

    Attributes:
        restored: the files that were put in place, from the project's folder.
        size: of all of them, in bytes.
        stale: the jobs that have to run again, and why; what depends on them will, too.
        missing: recorded files that could not be had.
    """

    restored: list[str]
    size: int
    stale: dict[Job, str]
    missing: list[Missing]


def pull(root: Path, remote: str | None = None, force: bool = False) -> Pulled:
    """Restore every recorded file that is not in place, and set times by what is up to date.

    Files that are not recorded stay where they are. It may be called at any time, and again after it was killed.

    Args:
        root: the project's folder, a Git clone with a `dvc.lock`.
        remote: the name of a DVC remote; by default the one that `.dvc/config` names.
        force: replace files that were changed here and never recorded.

    Raises:
        PullError: nothing is recorded, the remote does not answer or refuses, files here would be lost, or a workflow
            is running.
        ConfigError: the configuration of this commit is wrong.
    """
    locks = root / ".snakemake/locks"
    if locks.is_dir() and any(locks.iterdir()):
        raise PullError(
            f"{root.absolute()}: a workflow is running here, or was killed",
            "wait for it; if none is running, release its lock: snakemake --unlock",
        )
    # A mistake in config/ shows before anything is changed.
    plan = resolve(root)
    with open_repository(root) as repository:
        download(repository, remote)
        with prepared(repository, force) as found, _unfinished(root):
            size = place(found)
            stages = read_lock(repository)
            mark_fresh(repository, stages, plan)
            # Sections that are others today are written now, and so are later than all that is recorded.
            resolve(root)
            stale = stale_jobs(repository, stages, plan)
            mark_stale(root, plan, stale)
            # These tell of runs that made other files than those that are here now.
            shutil.rmtree(root / ".snakemake/metadata", ignore_errors=True)
            forget_benchmarks(root / "results")
        return Pulled(found.files, size, stale, find_missing(repository, remote, found.missing))


def check(root: Path) -> None:
    """Stop if results lie here that were never recorded; nothing is changed, and no remote is asked.

    Raises:
        PullError: there are such files.
    """
    with open_repository(root) as repository:
        if files := unrecorded(repository):
            raise PullError(
                f"{len(files)} files here are not recorded in dvc.lock, {files[0]} among them",
                "record them: dvc repro; results that nothing makes any more go with: imagewright prune",
            )


@contextmanager
def _unfinished(root: Path) -> Iterator[None]:
    """While this file is there the Snakefile refuses to plan: half of the files may be those of another commit."""
    marker = root / UNFINISHED
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))
    yield
    marker.unlink()
