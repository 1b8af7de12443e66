"""Listings of files and their MD5s. In `dvc.yaml` a stage depends on the listings of those before it.

If it depended on their folders, DVC would look at every file again for every stage that reads it: with 500 experiments
that was most of the time that it took to find nothing to do, and with many raw images it would be.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc_data.hashfile.build import build
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from imagewright.config.resolve import LISTINGS, STAGES
from imagewright.errors import PullError
from imagewright.files import write_json

Files = dict[str, str]
"""MD5 by path from the project's folder."""
MADE = "results/listing"


def write_listing(root: Path, stage: str) -> None:
    """Write `results/listing/<stage>.json`, only if it changed.

    Raises:
        PullError: there is no such stage, or nothing of it.
    """
    if stage not in STAGES:
        raise PullError(f"there is no stage {stage!r}", f"one of {', '.join(STAGES)}")
    with Repo(str(root)) as repository:
        files = files_here(repository, _folder(stage))
    if not files:
        raise PullError(f"{root / _folder(stage)}: there is nothing to list", "build it: snakemake")
    write_json(root / MADE / f"{stage}.json", files)


def files_here(repository: Repo, path: str) -> Files:
    """The files that are in a folder, or that a listing is about, as DVC sees them."""
    if path.startswith(f"{MADE}/"):
        path = _folder(Path(path).stem)
    full = os.path.join(repository.root_dir, path)  # noqa: PTH118
    try:
        _, _, found = build(
            repository.cache.local, full, repository.fs, "md5", dry_run=True, ignore=repository.dvcignore
        )
    except FileNotFoundError:
        return {}
    if isinstance(found, Tree):
        return {"/".join((path, *key)): info.value for key, _, info in found}
    return {path: str(found.hash_info.value)}


def recorded_files(repository: Repo, output: Any) -> Files | None:
    """The files of a recorded output, or none where the cache does not have its list of them."""
    info = output.hash_info
    if not info.isdir:
        return {output.def_path: info.value}
    try:
        tree = Tree.load(repository.cache.local, info)
    except (FileNotFoundError, ObjectFormatError):
        return None
    return {"/".join((output.def_path, *key)): found.value for key, _, found in tree}


def recorded_input(repository: Repo, dependency: Any) -> Files | None:
    """The files that a recorded dependency stands for, or none where the cache does not have their list."""
    if not dependency.def_path.startswith((f"{MADE}/", f"{LISTINGS}/")):
        return recorded_files(repository, dependency)
    md5 = dependency.hash_info.value
    try:
        content = repository.fs.cat_file(repository.cache.local.oid_to_path(md5))
    except FileNotFoundError:
        return None
    return json.loads(content) if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


def _folder(stage: str) -> str:
    return "data/raw" if stage == "fetch" else f"results/{stage}"
