"""How long a job took and how much memory it needed: as Snakemake measured it here, or as it was recorded.

Snakemake writes a file for each job, `results/benchmark/<stage>/<name>.tsv`. What DVC keeps is one for each stage,
`results/benchmark/<stage>.json`: a file for each job was a fifth of what it had to look at.
"""

import csv
from pathlib import Path
from typing import Any

from imagewright.files import read_json, write_json

UNMEASURED = ("NA", "-")
UNKNOWN = {"seconds": None, "peak_memory_mb": None}


def read_benchmark(results: Path, stage: str, name: str) -> dict[str, Any]:
    """What a job took when it ran here last or, where it never did, what was recorded with its results.

    Args:
        results: the folder `results/`.
        stage: the rule.
        name: of the data, the tensors, the experiment or the experiment's trial (`<experiment>/<trial>`).

    Returns:
        `seconds`; `peak_memory_mb`, the largest resident memory of all the job's processes together, in MB of 2**20
        bytes. What is not known is None, and `note` then says why.
    """
    path = benchmark_file(results, stage, name)
    if path.is_file():
        return _read(path, f"results/{path.relative_to(results).as_posix()}")
    missing = {**UNKNOWN, "note": f"results/{path.relative_to(results).as_posix()} is missing"}
    return _recorded(results, stage).get(name, missing)


def benchmark_file(results: Path, stage: str, name: str) -> Path:
    """Where Snakemake writes it: a table of one row."""
    return results / "benchmark" / stage / f"{name}.tsv"


def record_benchmarks(results: Path, stage: str) -> None:
    """Write `results/benchmark/<stage>.json`: the times of all jobs of a stage whose results are here."""
    folder = results / "benchmark" / stage
    measured = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.tsv")}
    found = _recorded(results, stage) | {name: read_benchmark(results, stage, name) for name in sorted(measured)}
    kept = {name: times for name, times in found.items() if _result(results, stage, name).exists()}
    write_json(_record(results, stage), kept)


def forget_benchmarks(results: Path) -> None:
    """Delete what was measured here of jobs whose times are recorded; for when the recorded results came back.

    Snakemake takes a job whose own file is older than what the job reads for one that has to run.
    """
    for record in (results / "benchmark").glob("*.json"):
        for name in read_json(record):
            benchmark_file(results, record.stem, name).unlink(missing_ok=True)


def _read(path: Path, shown: str) -> dict[str, Any]:
    """A table of one row, with `NA` or `-` for what Snakemake could not measure."""
    try:
        with path.open(newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        seconds = float(row["s"])
        if row["max_rss"] in UNMEASURED:
            return {"seconds": seconds, "peak_memory_mb": None, "note": "it ended before its memory was measured"}
        return {"seconds": seconds, "peak_memory_mb": float(row["max_rss"])}
    except (StopIteration, KeyError, ValueError, TypeError):
        return {**UNKNOWN, "note": f"{shown} is not one of Snakemake's benchmarks"}


def _record(results: Path, stage: str) -> Path:
    return results / "benchmark" / f"{stage}.json"


def _recorded(results: Path, stage: str) -> dict[str, dict[str, Any]]:
    path = _record(results, stage)
    return read_json(path) if path.is_file() else {}


def _result(results: Path, stage: str, name: str) -> Path:
    if stage == "fetch":
        # A clone may have the results without the images, but has always the list of them.
        return results.parent / f"data/raw/{name}.json"
    return results / stage if stage == "report" else results / stage / name
