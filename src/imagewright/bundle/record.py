"""The record of a bundle: which code made it, on what, and how long each stage took.

It lies beside the model and says nothing of the model itself: the same model has the same id whenever it was made.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagewright.bundle.benchmark import read_benchmark
from imagewright.bundle.commit import code_state
from imagewright.bundle.hardware import this_machine
from imagewright.config.bundle import BundleSection
from imagewright.files import read_json, sha256, write_json

TRAINED_ON = ("python", "machine", "device", "instructions", "threads", "processes")
"""What of a trial's environment is about the machine; its packages are behind the lock's hash."""


def write_record(
    section: BundleSection, bundle: dict[str, Any], results: Path, lock: Path, workflow: Path, path: Path
) -> dict[str, Any]:
    """Write `record.json`.

    Args:
        section: the experiment's names.
        bundle: `bundle.json`.
        results: the folder `results/`; times and memory are read from `benchmark/` in it.
        lock: the file of exact package versions.
        workflow: the Snakefile, whose repository knows the commit.
        path: the file to write.

    Returns:
        What was written: `bundle` (its id), `experiment`, `commit` and `dirty` (None where nobody knows), `lock` (its
        SHA-256), `fingerprints`, `hardware` (`training`, `bundling`), `stages` (see `stage_times`) and `written` (UTC,
        ISO 8601).
    """
    state = code_state(workflow)
    record = {
        "bundle": bundle["id"],
        "experiment": section.experiment,
        "commit": state.commit,
        "dirty": state.dirty,
        "lock": sha256(lock),
        "fingerprints": bundle["fingerprints"],
        "hardware": {"training": _trained_on(section, results), "bundling": this_machine()},
        "stages": stage_times(section, results),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(path, record)
    return record


def stage_times(section: BundleSection, results: Path) -> list[dict[str, Any]]:
    """Time and memory of every job behind an experiment, in the order of the stages, a training for each trial.

    Returns:
        A row a job: `stage`; `name`, of the data, the tensors, the experiment or the experiment's trial; `seconds`;
        `peak_memory_mb`, the largest resident memory of all the job's processes together, in MB of 2**20 bytes. What
        is not known is None, and `note` then says why.
    """
    return [{"stage": stage, "name": name, **read_benchmark(results, stage, name)} for stage, name in _jobs(section)]


def _jobs(section: BundleSection) -> list[tuple[str, str]]:
    name = section.experiment
    return [
        ("fetch", section.data),
        ("index", section.data),
        ("tensors", section.tensors),
        *(("train", f"{name}/{trial}") for trial in section.trials),
        *((stage, name) for stage in ("select", "evaluate", "export", "gate")),
    ]


def _trained_on(section: BundleSection, results: Path) -> dict[str, Any]:
    trial = read_json(results / "select" / section.experiment / "selection.json")["trial"]
    environment = read_json(results / "train" / section.experiment / trial / "trial.json")["environment"]
    return {"trial": trial, **{name: environment[name] for name in TRAINED_ON}}
