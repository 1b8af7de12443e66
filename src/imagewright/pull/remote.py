"""Bring recorded objects from the remote into the local cache, or say within seconds why that cannot be."""

import errno
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import DownloadError, DvcException
from dvc.repo import Repo

from imagewright.errors import PullError, first_line
from imagewright.pull.listing import recorded_files, recorded_input

PATIENCE_S = 8
BUCKET = "IMAGEWRIGHT_BUCKET"
NO_BUCKET = "gs://SET-YOUR-BUCKET"
"""What `.dvc/config` holds before a team has chosen; no bucket can have a name with capitals."""
AGAIN = "check the network and the address, then try again"
ANONYMOUS = "anon"
"""What DVC gives gcsfs for `allow_anonymous_login`."""
LOGGERS = ("dvc", "dvc_data", "dvc_objects")


@dataclass(frozen=True)
class Missing:
    """A recorded file that could not be had.

    Attributes:
        path: the file, from the project's folder.
        object: its address at the remote.
        problem: what is wrong with it there.
    """

    path: str
    object: str
    problem: str


def download(repository: Repo, name: str | None = None) -> None:
    """Fetch every recorded object that the cache lacks; where it has all, no remote is asked.

    Objects that the remote does not have, or has damaged, stay out of the cache; `find_missing` says which.

    Raises:
        PullError: no remote is set, it does not answer, it refuses, or the disk is full.
    """
    if not _lacking(repository):
        return
    remote = _remote(repository, name)
    _check(remote, PATIENCE_S)
    _copy_listings(repository, remote)
    with _listening() as heard:
        try:
            repository.fetch(remote=name)
        except DownloadError:
            if full := next(
                (error for error in heard if isinstance(error, OSError) and error.errno == errno.ENOSPC), None
            ):
                raise PullError(
                    f"the disk is full: {first_line(full)}; nothing was changed",
                    f"make room for DVC's cache, {repository.cache.local.path}, then run imagewright pull again",
                ) from None


def find_missing(repository: Repo, name: str | None, missing: dict[str, str]) -> list[Missing]:
    """Say of each missing file what is wrong with its object at the remote.

    Args:
        repository: the project.
        name: the remote.
        missing: MD5 by path.
    """
    if not missing:
        return []
    remote = _remote(repository, name)
    return [
        Missing(path, remote.fs.unstrip_protocol(remote.oid_to_path(md5)), _problem(remote, md5))
        for path, md5 in sorted(missing.items())
    ]


def _lacking(repository: Repo) -> bool:
    exists = repository.cache.local.exists
    listings = [recorded_files(repository, out) for out in repository.index.outs if out.use_cache and out.hash_info]
    return any(files is None or not all(exists(md5) for md5 in files.values()) for files in listings)


def _copy_listings(repository: Repo, remote: Any) -> None:
    """Bring the listings of folders: DVC leaves out that of a folder with a file missing; and those of dependencies."""
    cache, index = repository.cache.local, repository.index
    deps = (dep for dep in index.deps if dep.hash_info and not isinstance(dep, ParamsDependency))
    # Once each: many stages depend on one listing.
    wanted = {out.hash_info.value for out in index.outs if out.hash_info and recorded_files(repository, out) is None}
    wanted |= {dep.hash_info.value for dep in deps if recorded_input(repository, dep) is None}
    for md5 in sorted(wanted):
        # A listing that is there and cannot be read is damaged.
        if cache.exists(md5):
            repository.fs.remove(cache.oid_to_path(md5))
        path = remote.oid_to_path(md5)
        content = remote.fs.cat_file(path) if remote.fs.exists(path) else b""
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5.removesuffix(".dir"):
            with tempfile.NamedTemporaryFile() as file:
                file.write(content)
                file.flush()
                cache.add(file.name, repository.fs, md5)


def _set_bucket(repository: Repo) -> None:
    bucket = os.environ.get(BUCKET)
    if bucket and "gcs" in repository.config["remote"]:
        repository.config["remote"]["gcs"]["url"] = f"gs://{bucket.removeprefix('gs://').rstrip('/')}"


def _remote(repository: Repo, name: str | None) -> Any:
    _set_bucket(repository)
    name = name or repository.config["core"].get("remote")
    known = repository.config["remote"]
    if name not in known:
        raise PullError(
            f"there is no remote {name!r} in .dvc/config" if name else "no remote is set in .dvc/config",
            f"known remotes: {', '.join(sorted(known))}" if known else "add one: dvc remote add -d gcs gs://<bucket>",
        )
    if known[name]["url"].startswith(NO_BUCKET):
        raise PullError(
            f"the remote {name!r} has no bucket yet",
            f"set {BUCKET}, or: dvc remote modify {name} url gs://<bucket>; see docs/cache.md",
        )
    try:
        return repository.cloud.get_remote_odb(name)
    except DvcException as error:
        raise PullError(f"the remote {name!r}: {first_line(error)}", "correct it: dvc remote modify") from error


def _check(remote: Any, patience_s: float) -> None:
    """List the remote's folder once, in a thread that is given up after a while: its client would try for minutes."""
    found: list[Exception | None] = []

    def look() -> None:
        try:
            _find_credentials(remote.fs)
            remote.fs.ls(remote.path, detail=False)
            found.append(None)
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(patience_s)
    where = remote.fs.unstrip_protocol(remote.path)
    if not found:
        raise PullError(f"{where}: no answer within {patience_s:g} s", AGAIN)
    if found[0] is not None:
        raise _refusal(where, found[0])


def _find_credentials(filesystem: Any) -> None:
    """Raise where there are none: gcsfs would go on without, as nobody, or take a file's name for a token."""
    if filesystem.protocol != "gs":
        return
    token = filesystem.fs_args.get("token")
    if token is None:
        import google.auth

        google.auth.default()
    elif token != ANONYMOUS and not Path(token).is_file():
        raise PermissionError(f"{token}: there is no such key file")


def _refusal(where: str, error: Exception) -> PullError:
    # gcsfs puts the address above the reason.
    reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    forbidden = isinstance(error, PermissionError) or str(error).startswith("Forbidden")
    if forbidden or str(getattr(error, "code", "")) in ("401", "403") or "credential" in reason.lower():
        return PullError(
            f"{where}: not allowed: {reason}",
            "log in: gcloud auth application-default login; or name a key: "
            "dvc remote modify --local gcs credentialpath <file>",
        )
    if isinstance(error, FileNotFoundError):
        return PullError(f"{where}: there is nothing", "check the name; a new one is filled by dvc push")
    return PullError(f"{where}: {reason}", AGAIN)


def _problem(remote: Any, md5: str) -> str:
    path = remote.oid_to_path(md5)
    try:
        with remote.fs.open(path, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    except FileNotFoundError:
        return "is not at the remote"
    return "is damaged at the remote" if found != md5.removesuffix(".dir") else "did not arrive; pull again"


@contextmanager
def _listening() -> Iterator[list[BaseException]]:
    """Collect what DVC's own loggers say of errors: it counts them, and keeps their reasons to itself."""
    heard: list[BaseException] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                heard.append(record.exc_info[1])

    ear = Ear()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [ear], False
    try:
        yield heard
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
