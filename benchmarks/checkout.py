"""A copy of what the workflow consists of, for benchmarks and tests to run in."""

import shutil
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
COPIED = (
    "Snakefile", "workflow", "profiles", "gcp", "slurm", "scripts", "src", "config", "envs", "requirements.lock",
    "dvc.yaml", ".dvcignore",
)  # fmt: skip


def copy_checkout(root: Path) -> None:
    """Copy the project's own files to `root`, which exists and is empty."""
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_symlink():
            (root / name).symlink_to(source.readlink())
        elif source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, root / name)
