"""What `dvc.lock` says: for each stage, which files it read and made, by their MD5."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.stage import PipelineStage

from imagewright.errors import PullError, first_line
from imagewright.pull.listing import Files, recorded_files, recorded_input


@dataclass(frozen=True)
class Stage:
    """One stage of `dvc.yaml`, as it was when it last ended well.

    Attributes:
        name: the stage's word.
        deps: the files that it read, for each entry; none where the list of them is not at hand.
        outs: what it made, in the same form.
    """

    name: str
    deps: dict[str, Files | None]
    outs: dict[str, Files | None]


@contextmanager
def open_repository(root: Path) -> Iterator[Repo]:
    """Open the project as DVC sees it, and keep other DVC commands out meanwhile.

    Raises:
        PullError: there is no `dvc.lock`, DVC cannot read its files, or another DVC command is running.
    """
    if not (root / "dvc.lock").is_file():
        raise PullError(
            f"{(root / 'dvc.lock').absolute()}: there is no such file, so nothing is recorded",
            "build and record it: dvc repro; then commit dvc.lock and run dvc push",
        )
    try:
        with Repo(str(root)) as repository, lock_repo(repository):
            yield repository
    except LockError as error:
        raise PullError(f"another DVC command is running: {first_line(error)}", "wait for it, then try again") from None
    except DvcException as error:
        raise PullError(f"DVC: {first_line(error)}", "see `dvc status`; correct it, then try again") from error


def read_lock(repository: Repo) -> list[Stage]:
    """The stages that are recorded, in the order of `dvc.yaml`."""
    return [
        Stage(
            stage.name,
            {
                dep.def_path: recorded_input(repository, dep)
                for dep in stage.deps
                if not isinstance(dep, ParamsDependency)
            },
            {out.def_path: recorded_files(repository, out) for out in stage.outs},
        )
        for stage in repository.index.stages
        if isinstance(stage, PipelineStage) and all(out.hash_info for out in stage.outs)
    ]
