"""The record of a trial: what was really used, read back from the objects that did the work."""

import math
import platform
from importlib.metadata import version
from typing import Any

import torch
from torch.optim import Optimizer

from imagewright.config.train import TrainSection
from imagewright.errors import EvidenceError
from imagewright.train.batches import DrawnBatches
from imagewright.train.loop import Training

PACKAGES = ("torch", "torchvision", "timm", "monai", "lightning", "torchmetrics", "numpy", "pillow")


def effective_values(training: Training, train: DrawnBatches) -> dict[str, Any]:
    """The values that took part in the training; two trials with equal ones are the same trial."""
    batches, settings, parameters = training.batches, training.settings, list(training.network.parameters())
    return {
        "optimizer": _optimizer_values(training.optimizer.optimizer),
        "schedule": training.schedule.values(),
        "loss": {"class": type(training.loss_function).__name__, **_plain_attributes(training.loss_function)},
        "batches": {
            "batch_size": batches.batch_size,
            "accumulate": batches.accumulate,
            "processes": batches.processes,
            "steps": batches.steps,
            "seed": batches.seed,
            "balanced": batches.weights is not None,
        },
        "augment": repr(train.augment) if train.augment else "none",
        "ema": training.ema.decay if training.ema else None,
        "epochs": settings.epochs,
        "patience": settings.patience,
        "freeze": settings.freeze,
        "keep_statistics": training.freezer.keep_statistics,
        "gradient_clip": settings.gradient_clip,
        "precision": str(training.fabric.strategy.precision.precision),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }


def check_reached(section: TrainSection, effective: dict[str, Any]) -> None:
    """Stop if a value that was asked for is not the one that took part.

    Raises:
        EvidenceError: for example, a sweep's learning rate never reached the optimizer.
    """
    groups = effective["optimizer"]["groups"]
    asked, settings = section.optimizer, section.train
    for key, wanted, found in (
        ("optimizer.lr", asked.lr, max(group["lr"] for group in groups)),
        ("optimizer.weight_decay", asked.weight_decay, max(group["weight_decay"] for group in groups)),
        ("train.seed", settings.seed, effective["batches"]["seed"]),
        ("train.accumulate", settings.accumulate, effective["batches"]["accumulate"]),
        ("train.ema", settings.ema, effective["ema"]),
        *((f"optimizer.arguments.{name}", value, groups[0].get(name, value)) for name, value in asked.arguments.items()
          if isinstance(value, int | float)),
    ):  # fmt: skip
        same = wanted == found or (wanted and found and math.isclose(wanted, found, rel_tol=1e-6))
        if not same:
            raise EvidenceError(
                f"train: {key} {wanted} was asked for, but {found} took part",
                "something on the way to the optimizer replaces it: a sweep over it would change nothing",
            )


def environment(processes: int) -> dict[str, Any]:
    """What the bits of a result depend on besides code, config and data."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": device,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "packages": {name: version(name) for name in PACKAGES},
    }


def _optimizer_values(optimizer: Optimizer) -> dict[str, Any]:
    groups = []
    for group in optimizer.param_groups:
        values = {
            name: value for name, value in group.items() if name not in ("params", "param_names") and _plain(value)
        }
        # `lr` moves with the schedule; the rate that was asked for is `initial_lr`.
        values["lr"] = values.pop("initial_lr", values.get("lr"))
        groups.append({**values, "tensors": len(group["params"])})
    return {"class": type(optimizer).__name__, "groups": groups}


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
