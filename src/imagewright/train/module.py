"""The Lightning module: what a step and an epoch are."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule
from timm.optim import create_optimizer_v2, list_optimizers
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from imagewright.config.names import nearest
from imagewright.config.train import OptimizerConfig
from imagewright.errors import ModelError
from imagewright.metrics.counts import BINS, Counts
from imagewright.metrics.scores import SUMMARY, scores
from imagewright.models.network import Network
from imagewright.tensors.dataset import IGNORE_INDEX, Batch
from imagewright.train.schedule import build_schedule


class TrialModule(LightningModule):
    """A network, a loss and an optimizer; validation counts decisions and scores them once an epoch.

    Args:
        network: takes uint8 pictures.
        loss: takes logits and class indices.
        optimizer: its name and values.
        task, classes, ignore: as for `imagewright.metrics.scores.scores`.
    """

    def __init__(
        self,
        network: Network,
        loss: nn.Module,
        optimizer: OptimizerConfig,
        task: str,
        classes: Sequence[str],
        ignore: Sequence[str],
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimizer_config = optimizer
        self.task = task
        self.classes = list(classes)
        self.ignore = list(ignore)
        self.confusion = MulticlassConfusionMatrix(len(classes), ignore_index=IGNORE_INDEX)
        self.train_loss = MeanMetric()
        self.val_loss = MeanMetric()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """One step on N × H × W × C uint8 images and N (× H × W) int64 targets."""
        images, targets = batch
        loss: Tensor = self.loss(self.network(images), targets)
        self.train_loss.update(loss.detach(), weight=len(images))
        return loss

    def on_train_epoch_start(self) -> None:
        """An epoch's loss is of this epoch alone."""
        self.train_loss.reset()

    def on_validation_epoch_start(self) -> None:
        """An epoch's metrics are of this epoch alone."""
        self.confusion.reset()
        self.val_loss.reset()

    def validation_step(self, batch: Batch, _: int) -> None:
        """Count the decisions of one batch."""
        images, targets = batch
        logits = self.network(images)
        self.val_loss.update(self.loss(logits, targets), weight=len(images))
        self.confusion.update(logits.argmax(dim=1), targets)

    def on_validation_epoch_end(self) -> None:
        """Score the epoch and hand the values to the callbacks as `val/<metric>`."""
        self.log("val/loss", self.val_loss.compute())
        for name, value in self._validation_scores().items():
            self.log(f"val/{name}", value)

    def _validation_scores(self) -> dict[str, float]:
        confusion = self.confusion.compute().cpu().numpy().astype("float64")[None]
        counts = Counts(confusion, torch.zeros(1, BINS, 3).numpy(), torch.zeros(1).numpy())
        computed = scores(counts, self.task, self.classes, self.ignore)
        return {name: float(computed[name][0]) for name in SUMMARY[self.task]}

    def configure_optimizers(self) -> Any:
        """The optimizer from timm by name, with the schedule stepped after every batch.

        Raises:
            ModelError: an unknown name, or arguments that its class does not take.
        """
        config = self.optimizer_config
        known = list_optimizers()
        if config.name.lower() not in known:
            raise ModelError(f"optimizer.name: timm has no optimizer {config.name!r}", nearest(config.name, known))
        try:
            optimizer = create_optimizer_v2(
                self.network, opt=config.name, lr=config.lr, weight_decay=config.weight_decay, **config.arguments
            )
        except TypeError as error:
            raise ModelError(
                f"optimizer.arguments: {config.name!r} cannot be built with {config.arguments}: {error}",
                "correct `arguments` in config/optimizer/",
            ) from error
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs or 1
        schedule = build_schedule(config.schedule, optimizer, steps, max(steps // epochs, 1))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
