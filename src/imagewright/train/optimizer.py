"""The optimizer and the learning rate over the steps, both from timm by name."""

from typing import Any

from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from torch import nn
from torch.optim import Optimizer

from imagewright.config.names import nearest
from imagewright.config.train import OptimizerConfig
from imagewright.config.train import Schedule as ScheduleConfig
from imagewright.errors import ModelError, first_line


def build_optimizer(config: OptimizerConfig, module: nn.Module) -> Optimizer:
    """The optimizer over all parameters of `module`; biases and norms are spared weight decay.

    With `layer_decay`, the rate shrinks by that factor from layer to layer towards the input (Bao et al., BEiT, 2022).

    Raises:
        ModelError: an unknown name, or arguments that its class does not take.
    """
    known = list_optimizers()
    if config.name.lower() not in known:
        raise ModelError(f"optimizer.name: timm has no optimizer {config.name!r}", nearest(config.name, known))
    try:
        return create_optimizer_v2(  # type: ignore[no-any-return]
            module,
            opt=config.name,
            lr=config.lr,
            weight_decay=config.weight_decay,
            layer_decay=config.layer_decay,
            **config.arguments,
        )
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"optimizer.arguments: {config.name!r} cannot be built with {config.arguments}: {first_line(error)}",
            "correct `arguments` in config/optimizer/",
        ) from error


class Schedule:
    """Moves the learning rate after every step, by one of timm's schedules.

    Args:
        config: its shape.
        optimizer: `lr` of its groups is the highest rate.
        epochs: in all.
        steps: in an epoch.

    Attributes:
        updates: steps that were made.
    """

    def __init__(self, config: ScheduleConfig, optimizer: Optimizer, epochs: int, steps: int) -> None:
        highest = max(group["lr"] for group in optimizer.param_groups)
        decay: dict[str, Any] = {"decay_rate": 1.0} if config.name == "poly" else {"decay_rate": config.decay_rate}
        if config.decay_epochs:
            decay |= {"decay_epochs": config.decay_epochs[0], "decay_milestones": config.decay_epochs}
        # A warm-up as long as the training would leave nothing of the schedule.
        warmup = min(config.warmup_epochs, max(epochs - 1 / steps, 0))
        self.updates = 0
        self._schedule, _ = create_scheduler_v2(
            optimizer,
            config.name,
            num_epochs=epochs - warmup,  # type: ignore[arg-type]
            min_lr=highest * config.final_ratio,
            warmup_epochs=warmup,  # type: ignore[arg-type]
            warmup_prefix=True,
            # The first step is a small one, not none.
            warmup_lr=highest / (warmup * steps + 1),
            step_on_epochs=False,
            updates_per_epoch=steps,
            **decay,
        )
        self._schedule.step_update(0)

    def values(self) -> dict[str, Any]:
        """What shapes the schedule, read back from timm's object."""
        plain = {
            name: value
            for name, value in vars(self._schedule).items()
            if isinstance(value, int | float | str | bool | list)
            and not name.startswith(("_", "noise", "warmup_steps"))
        }
        return {"class": type(self._schedule).__name__, **plain}

    def step(self) -> None:
        """After the optimizer's step: set the rate of the next one."""
        self.updates += 1
        self._schedule.step_update(self.updates)

    def state_dict(self) -> dict[str, int]:
        """How far the schedule is."""
        return {"updates": self.updates}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken."""
        self.updates = state["updates"]
        self._schedule.step_update(self.updates)
