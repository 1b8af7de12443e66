"""What `dvc.lock` says: for each stage, which files it read and made, by their MD5."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.stage import PipelineStage
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from imagewright.errors import PullError, first_line

Files = dict[str, str]
"""MD5 by path from the project's folder."""


@dataclass(frozen=True)
class Stage:
    """One stage of `dvc.yaml`, as it was when it last ended well.

    Attributes:
        name: the stage's word.
        deps: what it read, a listing for each entry; none where the listing itself is not at hand.
        outs: what it made, in the same form.
        experiments: the experiments that were built then: files of others may lie beside them.
    """

    name: str
    deps: dict[str, Files | None]
    outs: dict[str, Files | None]
    experiments: list[str]


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
            {dep.def_path: listing(repository, dep) for dep in stage.deps if not isinstance(dep, ParamsDependency)},
            {out.def_path: listing(repository, out) for out in stage.outs},
            [name for dep in stage.params for name in (dep.hash_info.value or {}).get("experiments", [])],
        )
        for stage in repository.index.stages
        if isinstance(stage, PipelineStage) and all(out.hash_info for out in stage.outs)
    ]


def listing(repository: Repo, output: Any) -> Files | None:
    """The files of a recorded output or dependency, or none where the cache does not have its listing."""
    info = output.hash_info
    if not info.isdir:
        return {output.def_path: info.value}
    try:
        tree = Tree.load(repository.cache.local, info)
    except (FileNotFoundError, ObjectFormatError):
        return None
    return {"/".join((output.def_path, *key)): found.value for key, _, found in tree}
