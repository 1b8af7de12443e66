"""How long a job took and how much memory, as Snakemake measured it."""

import csv
from pathlib import Path
from typing import Any

UNMEASURED = ("NA", "-")
UNKNOWN = {"seconds": None, "peak_memory_mb": None}


def read_benchmark(results: Path, stage: str, name: str) -> dict[str, Any]:
    """Read what Snakemake wrote of a job: a table of one row, with `NA` or `-` for what it could not measure.

    Args:
        results: the folder `results/`.
        stage: the rule.
        name: of the data, the tensors, the experiment or the experiment's trial (`<experiment>/<trial>`).

    Returns:
        `seconds`; `peak_memory_mb`, the largest resident memory of all the job's processes together, in MB of 2**20
        bytes. What is not known is None, and `note` then says why.
    """
    path = benchmark_file(results, stage, name)
    shown = f"results/{path.relative_to(results).as_posix()}"
    if not path.is_file():
        return {**UNKNOWN, "note": f"{shown} is missing"}
    try:
        with path.open(newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        seconds = float(row["s"])
        if row["max_rss"] in UNMEASURED:
            return {"seconds": seconds, "peak_memory_mb": None, "note": "it ended before its memory was measured"}
        return {"seconds": seconds, "peak_memory_mb": float(row["max_rss"])}
    except (StopIteration, KeyError, ValueError, TypeError):
        return {**UNKNOWN, "note": f"{shown} is not one of Snakemake's benchmarks"}


def benchmark_file(results: Path, stage: str, name: str) -> Path:
    """Where Snakemake writes it."""
    return results / "benchmark" / stage / f"{name}.tsv"
