"""Compose the experiments and write each stage's section, as the Snakefile does when it is parsed."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import run

Root = Annotated[Path, typer.Option(help="The project's folder.")]
Experiments = Annotated[str | None, typer.Option(help="Names, with commas between; by default config/workflow.yaml's.")]


def resolve(root: Root = Path(), experiments: Experiments = None) -> None:
    """Write results/resolve/: each stage's sections, their listing and its code's fingerprint, where they changed.

    \b
    Example:
      python scripts/resolve.py --experiments digits,brain
    """
    from imagewright.config.resolve import list_sections, resolve
    from imagewright.files import write_json

    plan = resolve(root, experiments.split(",") if experiments else None)
    # The record is about all experiments of config/workflow.yaml.
    for listing, sections in list_sections(root, plan).items() if experiments is None else ():
        write_json(root / listing, sections)
    print(f"resolved {', '.join(plan.experiments)}")


if __name__ == "__main__":
    run(resolve)
