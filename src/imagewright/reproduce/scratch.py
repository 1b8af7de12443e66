"""The folder that an experiment is built again in: this project's code and config, and its raw data by a link."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagewright.config.bundle import BundleSection
from imagewright.config.resolve import Plan, resolve
from imagewright.errors import ReproduceError, first_line

PLACE = "runs/reproduce"
MARK = ".imagewright-reproduce"
"""Lies in every folder that was made here: no other is ever emptied."""
COPIED = ("Snakefile", "workflow", "profiles", "scripts", "src", "config", "envs", "requirements.lock")


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Make the folder, or empty it where an earlier call left it over, and keep other calls out of it.

    Args:
        folder: to be made in a place that may have other files.

    Yields:
        The descriptor of the lock: a process that inherits it holds the folder for as long as it lives.

    Raises:
        ReproduceError: another call works there, something else lies there, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ReproduceError(
            f"{folder}: no folder can be made here: {error.strerror}", "name another place: --scratch <folder>"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReproduceError(
                f"{folder}: an earlier `imagewright reproduce` is still at work here",
                "wait for it, or name another place: --scratch <folder>",
            ) from None
        _empty(folder)
        (folder / MARK).touch()
        yield descriptor
    finally:
        os.close(descriptor)


def remove(folder: Path) -> None:
    """Delete the folder, its mark last; raw data is linked into it, and links are not followed."""
    _empty(folder)
    shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    found = list(folder.iterdir())
    if found and not (folder / MARK).is_file():
        raise ReproduceError(
            f"{folder}: something else lies here, {found[0].name} for example",
            "move it away, or name another place: --scratch <folder>",
        )
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()


def check_raw(root: Path, data: str) -> None:
    """Stop if the raw data is not here, before anything is copied or built.

    Raises:
        ReproduceError: the folder or its manifest is missing.
    """
    raw, manifest = _raw(root, data)
    for path, there in ((raw, raw.is_dir()), (manifest, manifest.is_file())):
        if not there:
            raise ReproduceError(
                f"{path}: the raw data of {data!r} is not here, and without it nothing can be built again",
                "bring it back: imagewright pull; or fetch it: snakemake --cores 8 -- fetch_all",
            )


def fill(root: Path, folder: Path, recorded: BundleSection) -> BundleSection:
    """Copy code and config, compose the experiment there, and link its raw data.

    Args:
        root: the project's folder.
        folder: what `opened` made.
        recorded: the experiment, with the overrides that it was recorded with.

    Returns:
        The experiment as it is composed today.

    Raises:
        ReproduceError: the project is not whole, or a file of weights is missing.
        ConfigError: the configuration is wrong.
    """
    experiment = recorded.experiment
    try:
        for name in COPIED:
            _copy(root / name, folder / name)
        plan = resolve(folder, [experiment.split("~")[0]], recorded.overrides)
        if experiment not in plan.experiments:
            raise ReproduceError(
                f"{experiment}: its recorded overrides {recorded.overrides} make {', '.join(plan.experiments)} today",
                "build that with snakemake, and reproduce it",
            )
        _link_weights(root, folder, plan, experiment)
        data = plan.experiments[experiment]["data"]
        check_raw(root, data)
        (raw, manifest), (link, copy) = _raw(root, data), _raw(folder, data)
        link.parent.mkdir(parents=True)
        link.symlink_to(raw.absolute(), target_is_directory=True)
        shutil.copyfile(manifest, copy)
    except OSError as error:
        raise ReproduceError(
            f"{folder}: cannot be filled: {first_line(error)}", "see to it; or name another place: --scratch <folder>"
        ) from None
    return BundleSection.read(folder / f"results/resolve/bundle/{experiment}.yaml")


def _raw(root: Path, data: str) -> tuple[Path, Path]:
    """A data set's folder and its manifest."""
    return root / "data/raw" / data, root / "data/raw" / f"{data}.json"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        # What links point to is copied, so that a job never writes through one.
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
        shutil.copytree(source, target, ignore=ignored, ignore_dangling_symlinks=True)
    elif source.is_file():
        shutil.copyfile(source, target)
    else:
        raise ReproduceError(
            f"{source.absolute()}: there is no such file or folder", "run imagewright reproduce in the project's folder"
        )


def _link_weights(root: Path, folder: Path, plan: Plan, experiment: str) -> None:
    for needs in plan.experiments[experiment]["trials"].values():
        for file in needs["files"]:
            if not (root / file).is_file():
                raise ReproduceError(
                    f"{root / file}: the training starts from these weights, and they are not here",
                    "bring the file back, or correct model.pretrained",
                )
            if not (folder / file).exists():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).symlink_to((root / file).absolute())
