"""The training loop: what a step and an epoch are, and how a training goes on where it stopped."""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from lightning.fabric import Fabric
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from imagewright.config.train import TrainConfig
from imagewright.errors import ModelError
from imagewright.models.freeze import Freezer
from imagewright.models.network import Network
from imagewright.train.batches import EpochBatches
from imagewright.train.checkpoint import Checkpoint
from imagewright.train.history import History
from imagewright.train.optimizer import Schedule
from imagewright.train.validation import RunningLoss, Validation, check_fresh

Log = Callable[[Mapping[str, float], int], None]
"""Takes values by name and the step they belong to."""

LOGGED = 50
"""Steps of an epoch whose loss is logged, at most."""


@dataclass
class Best:
    """The epoch with the highest monitored metric so far; the first of equals. What is not a number is never best.

    Attributes:
        epoch: from 1; 0 before the first with a metric.
        value: of the metric on val.
        weights: on the CPU.
    """

    epoch: int = 0
    value: float = -math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)


class Training:
    """One trial while it runs.

    Args:
        settings: of the training.
        fabric: device, precision and processes.
        network: takes uint8 pictures.
        freezer: of the network.
        loss: takes logits and targets.
        optimizer: over the network's parameters.
        schedule: of the optimizer.
        batches: which images make up each step.
        loader: gives those batches.
        validation: measures the network.
        history: writes the curve.
        checkpoint: where the training's state is kept.
        log: told of each logged step and of each epoch.

    Attributes:
        steps: of the optimizer, in all.
        executed: steps that this process made itself.
        resumed_from: the steps at which this training was taken up again, in order.
        best: the epoch to keep.
        ema: the moving average of the weights, or none.
    """

    def __init__(
        self,
        settings: TrainConfig,
        fabric: Fabric,
        network: Network,
        freezer: Freezer,
        loss: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        batches: EpochBatches,
        loader: Any,
        validation: Validation,
        history: History,
        checkpoint: Checkpoint,
        log: Log,
    ) -> None:
        self.settings = settings
        self.fabric = fabric
        self.network = network
        self.freezer = freezer
        self.loss_function = loss
        self.optimizer: Any = fabric.setup_optimizers(optimizer)
        self.schedule = schedule
        self.batches = batches
        self.loader = loader
        self.validation = validation
        self.history = history
        self.checkpoint = checkpoint
        self.log = log
        self.loss = RunningLoss(fabric.device)
        # A short training has no time for a slow average, so the average warms up (timm's `use_warmup`).
        self.ema = ModelEmaV3(network, decay=settings.ema, use_warmup=True) if settings.ema else None
        self.model: Any = None
        self.steps = 0
        self.executed = 0
        self.resumed_from: list[int] = []
        self.best = Best()

    def run(self, after_step: Callable[[], None] = lambda: None) -> None:
        """Train to the end, from the last checkpoint where there is one.

        Args:
            after_step: called after each step of the optimizer.

        Raises:
            ModelError: the loss is not a number, or in no epoch the monitored metric was one.
            EvidenceError: a loss mixes epochs.
        """
        self._resume()
        while self.batches.epoch < self.settings.epochs and not self._out_of_patience():
            self._freeze_or_not()
            self._train_epoch(after_step)
            self._end_epoch()
        if not self.best.epoch:
            raise ModelError(
                f"train: val/{self.settings.monitor} was not a number in any of {self.batches.epoch} epochs",
                "monitor another metric (train.monitor), or see that val has what it counts",
            )

    @property
    def measured(self) -> nn.Module:
        """The network that is validated and kept: the moving average where there is one."""
        return self.ema.module if self.ema else self.network

    def _train_epoch(self, after_step: Callable[[], None]) -> None:
        self.freezer.set_training_mode()
        accumulate, every = self.batches.accumulate, math.ceil(self.batches.steps / LOGGED)
        title = f"epoch {self.batches.epoch + 1}/{self.settings.epochs}"
        shown = None if self.fabric.is_global_zero else True
        with tqdm(desc=title, total=len(self.batches), initial=self.batches.done, disable=shown, leave=False) as bar:
            for batch in self.loader:
                images, targets = (self.fabric.to_device(part) for part in batch)
                self.batches.done += 1
                complete = self.batches.done % accumulate == 0
                with self.fabric.no_backward_sync(self.model, enabled=not complete):
                    loss = self.loss_function(self.model(images), targets)
                    self.fabric.backward(loss / accumulate * self.batches.weight(len(images)))
                self.loss.update(loss, len(images))
                bar.update()
                if complete:
                    self._step()
                    if self.steps % every == 0:
                        self._log_step(loss)
                    if self.steps % self.settings.checkpoint_steps == 0:
                        self._save()
                    after_step()

    def _step(self) -> None:
        if self.settings.gradient_clip:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.settings.gradient_clip, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.steps += 1
        self.executed += 1
        if self.ema:
            self.ema.update(self.network, step=self.steps)

    def _log_step(self, loss: Tensor) -> None:
        mean = self.fabric.all_reduce(loss.detach(), reduce_op="mean")
        self.log({"train/step_loss": float(mean), "lr": self._rate()}, self.steps)  # type: ignore[arg-type]

    def _end_epoch(self) -> None:
        mean, counted = self.loss.compute(self.fabric)
        check_fresh("train", counted, self.batches.steps * self.batches.batch_size)
        if not math.isfinite(mean):
            raise ModelError("the training loss is not a number", "lower optimizer.lr, or set train.gradient_clip")
        measured = self.validation.measure(self.measured)
        epoch = self.batches.epoch + 1
        row = {"epoch": epoch, "step": self.steps, "lr": self._rate(), "train/loss": mean, **measured}
        self.history.add(row)
        self.log({name: value for name, value in row.items() if name not in ("step", "lr")}, self.steps)
        value = measured[f"val/{self.settings.monitor}"]
        # No comparison with NaN is true, so a first epoch without a metric does not stand in the way of the next ones.
        if value > self.best.value:
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.measured.state_dict().items()}
            self.best = Best(epoch, value, weights)
        self.loss.reset()
        self.batches.next_epoch()

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.batches.epoch - max(self.best.epoch, 1) >= patience

    def _freeze_or_not(self) -> None:
        """Freeze or unfreeze as the epoch asks; gradients are shared between processes for what is trained only."""
        until = self.settings.freeze
        frozen = until == "all" or self.batches.epoch < until
        if frozen and not self.freezer.frozen:
            self.freezer.freeze()
        elif not frozen and self.freezer.frozen:
            self.freezer.unfreeze()
        elif self.model is not None:
            return
        self.model = self.fabric.setup_module(self.network)

    def _rate(self) -> float:
        return float(max(group["lr"] for group in self.optimizer.param_groups))

    def _save(self) -> None:
        """Keep everything that the rest of the training depends on."""
        cuda = torch.cuda.get_rng_state() if self.fabric.device.type == "cuda" else torch.empty(0, dtype=torch.uint8)
        own = {"rng": torch.get_rng_state(), "cuda": cuda, "loss": self.loss.state_dict()}
        ranks = [own] * self.fabric.world_size
        if self.fabric.world_size > 1:
            torch.distributed.all_gather_object(ranks, own)
        if not self.fabric.is_global_zero:
            return
        self.checkpoint.save(
            {
                "network": self.network.state_dict(),
                "ema": self.ema.module.state_dict() if self.ema else {},
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "batches": self.batches.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "ranks": ranks,
                "history": self.history.rows,
                "best": vars(self.best),
                "steps": self.steps,
                "resumed_from": self.resumed_from,
            }
        )

    def _resume(self) -> None:
        """Take everything back that `_save` kept; random states last, since building things draws from them."""
        state = self.checkpoint.load()
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.batches.load_state_dict(state["batches"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.history.rows = state["history"]
        self.best = Best(**state["best"])
        self.steps = state["steps"]
        self.resumed_from = [*state["resumed_from"], self.steps]
        own = state["ranks"][self.fabric.global_rank]
        self.loss.load_state_dict(own["loss"])
        torch.set_rng_state(own["rng"])
        if len(own["cuda"]):
            torch.cuda.set_rng_state(own["cuda"])
        if self.fabric.is_global_zero:
            print(f"train: resumed from step {self.steps}, epoch {self.batches.epoch + 1}", file=sys.stderr, flush=True)
