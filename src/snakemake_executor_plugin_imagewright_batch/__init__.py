"""Snakemake's executor for Google Batch, with what its plugin gets wrong put right: `executor: imagewright-batch`.

The plugin (snakemake-executor-plugin-googlebatch 0.5.1) does the work; see `executor` for each correction and when it
can go. Files travel through a bucket (`store`): the person's disk stays the one place where results are, so that a plan
is the same with this executor and without. The package's name is what Snakemake finds executors by.
"""

import sys
from dataclasses import dataclass, field, replace
from typing import Optional

import snakemake_executor_plugin_googlebatch as plugin

from snakemake_executor_plugin_imagewright_batch.executor import NOT_LOGGED_IN, Executor, logged_in

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

# Differs for each team: it has to be given, and the environment is the place for it.
TOLD = {"env_var": True, "required": True}


@dataclass
class ExecutorSettings(plugin.ExecutorSettings):
    """The plugin's settings and our own, as `--imagewright-batch-<name>`."""

    # Snakemake makes an option of each, and does not understand `str | None`.

    container: Optional[str] = field(  # noqa: UP045
        default=None, metadata={"help": "The image that jobs run in, which container/runner builds", **TOLD}
    )
    service_account: Optional[str] = field(  # noqa: UP045
        default=None,
        metadata={
            "help": "The account that jobs run as; the project's default one may do far more than they need",
            **TOLD,
        },
    )
    image_family: Optional[str] = field(  # noqa: UP045
        default="batch-cos-stable-official", metadata={"help": "The VM's system, one that runs containers"}
    )
    image_project: Optional[str] = field(  # noqa: UP045
        default="batch-custom-image", metadata={"help": "Whose image_family it is"}
    )
    store: Optional[str] = field(  # noqa: UP045
        default=None,
        metadata={"help": "Folder in a bucket that files travel through: gs://bucket/folder", **TOLD},
    )
    machines: Optional[str] = field(  # noqa: UP045
        default=None,
        metadata={"help": "YAML file of the machine types to choose from; by default Batch takes machine_type"},
    )

    def __post_init__(self) -> None:
        """Say before a dry run, too, that a real one would stop."""
        if not logged_in():
            sys.stderr.write(f"warning: {NOT_LOGGED_IN}\n")


# Snakemake takes the disk for one that jobs share, and the executor makes it look like one.
common_settings = replace(
    plugin.common_settings,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=False,
    auto_deploy_default_storage_provider=False,
    can_transfer_local_files=True,
)
