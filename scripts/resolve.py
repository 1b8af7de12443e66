"""Compose the experiments and write each stage's section, as the Snakefile does when it is parsed."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import run

Root = Annotated[Path, typer.Option(help="The project's folder.")]
Experiments = Annotated[str | None, typer.Option(help="Names, with commas between; by default config/workflow.yaml's.")]


def resolve(root: Root = Path(), experiments: Experiments = None) -> None:
    """Write results/resolve/: a section a stage and a code fingerprint a stage, only where the content changed.

    \b
    Example:
      python scripts/resolve.py --experiments digits,brain
    """
    from imagewright.config.resolve import resolve

    plan = resolve(root, experiments.split(",") if experiments else None)
    print(f"resolved {', '.join(plan.experiments)}")


if __name__ == "__main__":
    run(resolve)
