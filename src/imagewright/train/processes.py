"""One process or several: what `torchrun` started, as Lightning Fabric sees it."""

import logging
import os
import warnings

from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from imagewright.config.train import TrainConfig
from imagewright.errors import ModelError


def is_main() -> bool:
    """Whether this process writes files and speaks: the only one, or the first of those that `torchrun` started."""
    return int(os.environ.get("RANK", 0)) == 0


def open_fabric(settings: TrainConfig) -> Fabric:
    """Device, precision and processes.

    Raises:
        ModelError: `torchrun` started another number of processes than the config asks for.
    """
    for name in ("lightning.fabric", "lightning_utilities.core.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # A convolution over one channel has two right orders of strides; the gradients are the same.
    warnings.filterwarnings("ignore", message=".*Grad strides do not match bucket view strides.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started != settings.processes:
        raise ModelError(
            f"train.processes is {settings.processes}, but {started} processes were started",
            f"start the script with: torchrun --standalone --nproc-per-node {settings.processes}",
        )
    fabric = Fabric(
        accelerator="auto",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        num_nodes=started // int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        strategy="ddp" if started > 1 else "auto",
        precision=settings.precision,
        # Said, not guessed: inside a Slurm job Lightning would take ranks from Slurm, which started one process.
        plugins=TorchElasticEnvironment() if started > 1 else LightningEnvironment(),
    )
    fabric.launch()
    return fabric
