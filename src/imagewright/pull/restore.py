"""Put recorded files in place: aside first, checked, then one rename each."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc.repo.index import build_data_index, index_from_targets
from dvc_data.hashfile.hash import hash_file
from dvc_data.index.checkout import Diff, apply, compare

from imagewright.errors import PullError, first_line

ASIDE = ".pull.partial"
GENERATED = ("results", "resolve")


@dataclass(frozen=True)
class Prepared:
    """Recorded files that are not in place, whole and checked in a folder beside it.

    Attributes:
        root: the project's folder.
        aside: the folder that they lie in.
        files: paths from either.
        folders: recorded folders that are not there.
        missing: recorded files that the cache does not have, with their MD5; a folder's ends in `.dir`.
    """

    root: Path
    aside: Path
    files: list[str]
    folders: list[str]
    missing: dict[str, str]


@contextmanager
def prepared(repository: Repo, force: bool = False) -> Iterator[Prepared]:
    """Copy or link from the cache what is not here as `dvc.lock` says; nothing is in its place yet.

    Args:
        repository: the project.
        force: also what would replace files that were changed here and are in no cache.

    Raises:
        PullError: there are such files, or the disk does not take the new ones.
    """
    root, cache = Path(repository.root_dir), repository.cache.local
    difference = _compare(repository)
    if not force and (lost := _in_no_cache(repository, difference)):
        raise PullError(
            f"{len(lost)} files were changed here and never recorded, {lost[0]} among them; nothing was pulled",
            "record them: dvc repro; or replace them with the recorded ones: imagewright pull --force",
        )
    wanted = [entry for entry in difference.files_create if not linked(root, _path(entry))]
    aside = root / ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    try:
        whole = _copied(repository, difference, [one for one in wanted if cache.exists(one.hash_info.value)], aside)
        absent = [entry for entry in (*wanted, *difference.dirs_failed) if _path(entry) not in whole]
        yield Prepared(
            root,
            aside,
            whole,
            [_path(entry) for entry in difference.dirs_create],
            {_path(entry): entry.hash_info.value for entry in absent},
        )
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def place(found: Prepared) -> int:
    """Put all of it in place, one rename each; files that are not recorded stay.

    Returns:
        The bytes of the files that were placed.
    """
    size = 0
    for folder in found.folders:
        (found.root / folder).mkdir(parents=True, exist_ok=True)
    for path in found.files:
        target = found.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        size += (found.aside / path).replace(target).stat().st_size
    for path in found.missing:
        # Another version may lie there, which is in the cache, or was given up.
        if (found.root / path).is_file():
            (found.root / path).unlink()
    return size


def unrecorded(repository: Repo) -> list[str]:
    """Files of the workflow that lie here and are in no commit's record that this machine knows of, sorted."""
    return sorted(_in_no_cache(repository, _compare(repository, extra=True)))


def _compare(repository: Repo, extra: bool = False) -> Diff:
    """What would have to be made and deleted here; files that are not recorded are among the deleted on request."""
    view = index_from_targets(repository)
    here = build_data_index(view, repository.root_dir, repository.fs, compute_hash=True)
    difference: Diff = compare(here, view.data["repo"], delete=extra)
    return difference


def _in_no_cache(repository: Repo, difference: Diff) -> list[str]:
    cache = repository.cache.local
    return [
        _path(entry)
        for entry in difference.files_delete
        # Sections are composed anew, from config/.
        if entry.key[:2] != GENERATED and not (entry.hash_info and cache.exists(entry.hash_info.value))
    ]


def _copied(repository: Repo, difference: Diff, entries: list[Any], aside: Path) -> list[str]:
    """Copy or link entries from the cache to a folder, and return the paths of those that are whole."""
    failed: list[Exception] = []
    try:
        for entry in entries:
            aside.joinpath(*entry.key).parent.mkdir(parents=True, exist_ok=True)
        apply(
            Diff(difference.old, difference.new, files_create=entries), str(aside), repository.fs, update_meta=False,
            onerror=lambda source, target, error: failed.append(error),
        )  # fmt: skip
    except OSError as error:
        failed.append(error)
    if failed:
        raise PullError(
            f"the recorded files cannot be written: {first_line(failed[0])}; nothing was changed",
            f"see to the space and the rights in {aside.parent}, then run imagewright pull again",
        )
    whole = []
    for entry in entries:
        if hash_file(str(aside.joinpath(*entry.key)), repository.fs, "md5")[1] == entry.hash_info:
            whole.append(_path(entry))
        elif repository.cache.local.exists(entry.hash_info.value):
            # It was whole when it came in. Where it is not there, DVC fetches it anew.
            repository.fs.remove(repository.cache.local.oid_to_path(entry.hash_info.value))
    return whole


def _path(entry: Any) -> str:
    return "/".join(entry.key)


def linked(root: Path, path: str) -> bool:
    """Whether a person has put a link in the way of a recorded file: what it points to is theirs."""
    return any(folder.is_symlink() for folder in list((root / path).parents)[: path.count("/")])
