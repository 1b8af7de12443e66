"""Snakemake's executor for Google Batch, with what its plugin gets wrong put right: `executor: imagewright-batch`.

The plugin (snakemake-executor-plugin-googlebatch 0.5.1) does the work; see `executor` for each correction and when it
can go. The package's name is what Snakemake finds executors by.
"""

from dataclasses import dataclass, replace

import snakemake_executor_plugin_googlebatch as plugin

from snakemake_executor_plugin_imagewright_batch.executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


@dataclass
class ExecutorSettings(plugin.ExecutorSettings):
    """The plugin's settings, as `--imagewright-batch-<name>`."""


# The image of the jobs has the storage plugin; to install the newest one at each start would need the network.
common_settings = replace(plugin.common_settings, auto_deploy_default_storage_provider=False)
