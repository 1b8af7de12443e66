"""Stage `bundle`: gather what is served."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import RUNS, Config, Out, Tracking, run

Results = Annotated[Path, typer.Option(help="The folder with every stage's results: results.")]
Lock = Annotated[Path, typer.Option(help="The exact package versions: requirements.lock.")]
Workflow = Annotated[Path, typer.Option(help="The workflow's main file, whose repository knows the commit: Snakefile.")]


def bundle(
    config: Config, results: Results, lock: Lock, workflow: Workflow, out: Out, tracking: Tracking = None
) -> None:
    """Write the gated files, bundle.json, card.md and the record: the one folder that is served.

    \b
    Example:
      python scripts/bundle.py --config results/resolve/bundle/digits.yaml --results results \\
        --lock requirements.lock --workflow Snakefile --out results/bundle/digits
    """
    from imagewright.bundle.lineage import record_lineage
    from imagewright.bundle.write import write_bundle
    from imagewright.config.bundle import BundleSection
    from imagewright.config.tracking import TrackingConfig
    from imagewright.files import staged
    from imagewright.tracking import tracked

    with staged(out) as work:
        write_bundle(BundleSection.read(config), results, lock, workflow, work)
    with tracked(TrackingConfig.read_or_off(tracking), RUNS, job="bundle", experiment=out.name) as tracker:
        record_lineage(tracker, out)


if __name__ == "__main__":
    run(bundle)
