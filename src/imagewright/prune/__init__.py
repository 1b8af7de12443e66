"""Find and delete the results of what `config/` no longer has.

An experiment is removed when `config/experiment/<name>.yaml` is gone, not when a run leaves it out.
"""

import shutil
from pathlib import Path

from imagewright.config.resolve import LEVELS, STAGES, meanings


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
    }
    # Tables with a file for each experiment: DVC would go on showing those that are gone.
    kinds |= {f"report/{table.name}": "experiment" for table in (results / "report").glob("[!.]*/")}
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
    return bool(meanings(config, name))
