"""`snakemake`, which asks a cluster every second what became of its jobs.

Slurm's plugin waits ten seconds longer after each answer without news: right for a cluster that many share, and more
than half of a test's time here. Nothing else is changed; the jobs themselves run the usual `snakemake`.
"""

import asyncio
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

INTERVAL_S = 1


async def _sleep(executor: RemoteExecutor) -> None:
    await asyncio.sleep(INTERVAL_S)


if __name__ == "__main__":
    RemoteExecutor.sleep = _sleep
    main(sys.argv[1:])
