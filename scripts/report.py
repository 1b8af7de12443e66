"""Stage `report`: one page on all experiments."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import Config, Out, run

Results = Annotated[Path, typer.Option(help="The folder with every stage's results: results.")]


def report(config: Config, results: Results, out: Out) -> None:
    """Write summary.html, a table of the experiments with intervals and their pictures, and the tables that DVC reads.

    \b
    Example:
      python scripts/report.py --config results/resolve/report/summary.yaml --results results --out results/report
    """
    from imagewright.config.report import ReportSection
    from imagewright.files import staged
    from imagewright.report.summary import write_summary
    from imagewright.report.tables import write_tables

    section = ReportSection.read(config)
    with staged(out) as work:
        write_summary(section, results, work)
        write_tables(section, results, work)


if __name__ == "__main__":
    run(report)
