"""List what a stage has made, and what that took, for DVC: later stages depend on the listing."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import run

Stage = Annotated[str, typer.Argument(help="A stage of dvc.yaml.")]
Root = Annotated[Path, typer.Option(help="The project's folder.")]


def listing(stage: Stage, root: Root = Path()) -> None:
    """Write results/listing/<stage>.json: the MD5 of each of the stage's files, only if they changed.

    And results/benchmark/<stage>.json: the time and memory of each of its jobs.

    \b
    Example:
      python scripts/listing.py train
    """
    from imagewright.bundle.benchmark import record_benchmarks
    from imagewright.pull.listing import write_listing

    write_listing(root, stage)
    record_benchmarks(root / "results", stage)


if __name__ == "__main__":
    run(listing)
