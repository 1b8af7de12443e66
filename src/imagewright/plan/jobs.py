"""Which jobs Snakemake would run with a profile, and what each asks for: `python -P jobs.py ARGUMENTS`.

A process of its own, in which Snakemake makes a dry run as from the command line. Its logger tells of each job what
logger plugins are told (`LogEvent.JOB_INFO`), and nothing has to be read out of printed text.
"""

import json
import logging
import sys
from contextlib import redirect_stdout
from typing import Any

from snakemake.cli import main
from snakemake.logging import logger

FIELDS = ("rule_name", "threads", "benchmark")
MANY = "1000000"


class _Listener(logging.Filter):
    """Takes the jobs out of what is said, and lets errors pass."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[dict[str, Any]] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if str(getattr(record, "event", "")) == "job_info":
            about = {name: getattr(record, name, None) for name in FIELDS}
            self.jobs.append({**about, "resources": _plain(record.resources)})  # type: ignore[attr-defined]
        return record.levelno >= logging.ERROR


def _plain(resources: Any) -> dict[str, Any]:
    return {name: value for name, value in resources.items() if isinstance(value, int | float | str)}


if __name__ == "__main__":
    listener = _Listener()
    logger.addFilter(listener)
    try:
        # The cores are not for this machine: a job would be shown with no more threads than there are.
        with redirect_stdout(sys.stderr):
            main(["--dry-run", "--cores", MANY, *sys.argv[1:]])
    except SystemExit as ended:
        if ended.code:
            raise
    sys.stdout.write(json.dumps(listener.jobs))
