"""The learning rate over the steps of a training."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from imagewright.config.train import Schedule


def build_schedule(config: Schedule, optimizer: Optimizer, steps: int, steps_per_epoch: int) -> LambdaLR:
    """Linear warm-up, then constant or half a cosine (Loshchilov and Hutter 2017) down to `final_ratio`.

    Args:
        config: shape of the schedule.
        optimizer: its own `lr` is the highest rate.
        steps: in all.
        steps_per_epoch: for the warm-up, which is given in epochs.
    """
    warmup = min(round(config.warmup_epochs * steps_per_epoch), max(steps - 1, 0))

    def ratio(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if config.name == "constant":
            return 1.0
        progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
        return config.final_ratio + (1 - config.final_ratio) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, ratio)
