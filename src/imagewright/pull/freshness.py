"""Times that tell Snakemake what is up to date: one for all that is recorded, a later one for what has to run again."""

import os
import time
from pathlib import Path

from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo

from imagewright.config.resolve import LEVELS, LISTINGS, Plan, list_sections
from imagewright.pull.listing import Files, files_here
from imagewright.pull.lock import Stage
from imagewright.pull.restore import linked

Job = tuple[str, str]
"""A stage, and the data, tensors or experiment that it is run for."""
Scope = tuple[str, str]
EVERYTHING = ("everything", "")
EARLIER_NS = 10**9
SHARED = ("code", "listing", "report", "benchmark")
"""Folders below `results/` and `results/resolve/` of which a file is of no experiment in particular."""


def mark_fresh(repository: Repo, stages: list[Stage], plan: Plan) -> None:
    """Give every recorded file and every section one and the same time: now, which is not older than code and config.

    Files of experiments that a record was not about get an earlier one: nobody knows how old they were, so they are
    built again when somebody asks for them.
    """
    moment = time.time_ns()
    times = []
    for stage in stages:
        built = _built(stage) or set()
        for path, md5 in _files_of(stage).items():
            known = stage.name == "resolve" or _scope(path) in built
            times.append((moment if known else moment - EARLIER_NS, path, md5))
    for path in (path for sections in plan.sections.values() for path in sections):
        os.utime(Path(repository.root_dir, path), ns=(moment, moment))
    infos = []
    # The later time last: files with the same content may be links to one and the same object of the cache.
    for when, path, md5 in sorted(times):
        if linked(Path(repository.root_dir), path):
            continue
        full = os.path.join(repository.root_dir, path)  # noqa: PTH118
        try:
            os.utime(full, ns=(when, when))
        except FileNotFoundError:
            continue
        infos.append((full, HashInfo("md5", md5), repository.fs.info(full)))
    # DVC knows files by their times, too: without this the next command reads all of them.
    repository.state.save_many(infos, repository.fs)


def stale_jobs(repository: Repo, stages: list[Stage], plan: Plan) -> dict[Job, str]:
    """The jobs that were recorded with other inputs than those that are here, each with the first that differs.

    What depends on such a job is not listed: Snakemake finds it.
    """
    here: dict[str, Files] = list_sections(Path(repository.root_dir), plan)
    stale: dict[Job, str] = {}
    for stage in stages:
        jobs = {job: _lineage(job, plan) for job in _jobs(stage.name, plan)}
        built = _built(stage)
        for job in jobs:
            if built is not None and _own_scope(job) not in built:
                stale[job] = "not among the experiments that were recorded"
        for path, recorded in stage.deps.items():
            if path not in here:
                here[path] = files_here(repository, path)
            for file, (scope, reason) in _changes(path, recorded, here[path]).items():
                for job, lineage in jobs.items():
                    if scope in lineage:
                        stale.setdefault(job, f"{file} {reason}")
    return stale


def _changes(path: str, recorded: Files | None, here: Files) -> dict[str, tuple[Scope, str]]:
    if recorded is None:
        return {path: (EVERYTHING, "was recorded in a version that cannot be had")}
    return {
        file: (
            _scope(file),
            "is missing" if file not in here else "is new" if file not in recorded else "is not the recorded one",
        )
        for file in sorted({file for file, _ in recorded.items() ^ here.items()})
    }


def mark_stale(root: Path, plan: Plan, stale: dict[Job, str]) -> None:
    """Give the sections of these jobs a later time than their outputs have."""
    for stage, name in stale:
        trials = plan.experiments[name]["trials"] if stage == "train" else []
        names = [f"{name}/{trial}" for trial in trials] or [name]
        for section in (root / f"results/resolve/{stage}/{name}.yaml" for name in names):
            # Written anew, since a link to the cache would share its time with other files.
            aside = section.with_name(f".{section.name}.stale.partial")
            aside.write_bytes(section.read_bytes())
            aside.replace(section)


def _jobs(stage: str, plan: Plan) -> list[Job]:
    level = LEVELS.get(stage, "experiment")
    names = {"data": plan.data, "tensors": plan.tensors, "experiment": plan.experiments}[level]
    if stage == "resolve":
        return []
    return [(stage, name) for name in (["summary"] if stage == "report" else names)]


def _files_of(stage: Stage) -> Files:
    return {path: md5 for files in stage.outs.values() for path, md5 in (files or {}).items()}


def _built(stage: Stage) -> set[Scope] | None:
    """What a record is about; what else lay in the stage's folder may be of any age. None where nobody can know."""
    sections = [files for path, files in stage.deps.items() if path.startswith(f"{LISTINGS}/")]
    if any(files is None for files in sections):
        return None
    return {EVERYTHING, *(_scope(file) for files in sections if files for file in files)}


def _own_scope(job: Job) -> Scope:
    stage, name = job
    return EVERYTHING if stage == "report" else (LEVELS.get(stage, "experiment"), name)


def _lineage(job: Job, plan: Plan) -> set[Scope]:
    """What a job is for, and what that rests on."""
    level, name = _own_scope(job)
    if (level, name) == EVERYTHING:
        return {
            EVERYTHING,
            *(("data", data) for data in plan.data),
            *(("experiment", experiment) for experiment in plan.experiments),
        }
    lineage = {EVERYTHING, (level, name)}
    if level == "tensors":
        lineage.add(("data", plan.tensors[name]))
    if level == "experiment":
        facts = plan.experiments[name]
        lineage |= {("tensors", facts["tensors"]), ("data", facts["data"])}
    return lineage


def _scope(file: str) -> Scope:
    """What a file belongs to, as its path says."""
    parts = file.split("/")
    if parts[:2] == ["data", "raw"]:
        return "data", parts[2].removesuffix(".json") if len(parts) == 3 else parts[2]
    if parts[:2] == ["results", "resolve"]:
        parts = parts[1:]
    if parts[0] not in ("results", "resolve") or len(parts) < 3 or parts[1] in SHARED:
        return EVERYTHING
    name = parts[2]
    for suffix in (".yaml", ".json", ".txt"):
        name = name.removesuffix(suffix) if len(parts) == 3 else name
    return LEVELS.get(parts[1], "experiment"), name
