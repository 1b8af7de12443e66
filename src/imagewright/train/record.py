"""The record of a trial: what was really used, read back from the objects that did the work."""

import platform
from importlib.metadata import version
from typing import Any

import torch
from lightning import Trainer
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from imagewright.tensors.dataset import TensorSplit
from imagewright.train.module import TrialModule

PACKAGES = ("torch", "torchvision", "timm", "monai", "lightning", "torchmetrics", "numpy", "pillow")


def effective_values(trainer: Trainer, module: TrialModule) -> dict[str, Any]:
    """The values that took part in the training; two trials with equal ones are the same trial.

    Args:
        trainer: after `fit`.
        module: the module that it trained.
    """
    train_loader, val_loader = trainer.train_dataloader, trainer.val_dataloaders
    return {
        "optimizer": _optimizer_values(trainer.optimizers[0]),
        "schedule": module.optimizer_config.schedule.to_dict(),
        "loss": {"class": type(module.loss).__name__, **_plain_attributes(module.loss)},
        "train": _loader_values(train_loader),
        "val": _loader_values(val_loader),
        "epochs": trainer.max_epochs,
        "precision": str(trainer.precision),
        "gradient_clip": trainer.gradient_clip_val,
        "parameters": sum(parameter.numel() for parameter in module.network.parameters()),
        "trainable": sum(parameter.numel() for parameter in module.network.parameters() if parameter.requires_grad),
    }


def environment() -> dict[str, Any]:
    """What the bits of a result depend on besides code, config and data."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": device,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _optimizer_values(optimizer: Optimizer) -> dict[str, Any]:
    groups = []
    for group in optimizer.param_groups:
        values = {name: value for name, value in group.items() if name != "params" and _plain(value)}
        # `lr` moves with the schedule; the rate that was asked for is `initial_lr`.
        values["lr"] = values.pop("initial_lr", values.get("lr"))
        groups.append({**values, "tensors": len(group["params"])})
    return {"class": type(optimizer).__name__, "groups": groups}


def _loader_values(loader: Any) -> dict[str, Any]:
    assert isinstance(loader, DataLoader)
    split: TensorSplit = loader.dataset  # type: ignore[assignment]
    return {
        "sha256": split.sha256,
        "images": len(split),
        "batch_size": loader.sampler.batch_size,  # type: ignore[attr-defined]
        "batches": len(loader),
        "augment": repr(split.augment) if split.augment else "none",
    }


def _plain_attributes(module: torch.nn.Module) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "training" and _plain(value)
    }


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)
