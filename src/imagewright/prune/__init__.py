"""Find and delete the results of what `config/` no longer has.

An experiment is removed when `config/experiment/<name>.yaml` is gone, not when a run leaves it out.
"""

import shutil
from pathlib import Path

from imagewright.config.resolve import LEVELS, STAGES

TABLES = ("metrics", "curves", "confusion")
"""What `report` writes a file an experiment of; DVC would go on showing those that are gone."""


def removed(root: Path) -> list[Path]:
    """Files and folders below `results/` whose experiment, data or tensors `config/` no longer has, sorted.

    Raw data is never among them.

    Args:
        root: the project's folder.
    """
    results = root / "results"
    kinds = {
        stage: LEVELS.get(stage, "experiment")
        for stage in (*STAGES, "raw", "provenance", "tracking")
        if stage != "report"
    } | {f"report/{table}": "experiment" for table in TABLES}
    return sorted(
        path
        for name, kind in kinds.items()
        for folder in (results / name, results / "resolve" / name, results / "benchmark" / name)
        for path in folder.glob("[!.]*")
        if not _is_known(root / "config", kind, path)
    )


def prune(paths: list[Path]) -> None:
    """Delete what `removed` found."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_known(config: Path, kind: str, path: Path) -> bool:
    name = path.stem if path.is_file() else path.name
    if kind != "tensors":
        # What comes after ~ names the overrides of one run.
        return (config / kind / f"{name.split('~')[0]}.yaml").is_file()
    # Both parts may have hyphens of their own.
    parts = name.split("-")
    pairs = [("-".join(parts[:cut]), "-".join(parts[cut:])) for cut in range(1, len(parts))]
    return any(
        (config / f"data/{data}.yaml").is_file() and (config / f"tensors/{tensors}.yaml").is_file()
        for data, tensors in pairs
    )
