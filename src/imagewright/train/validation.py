"""Measure a network on val, once an epoch; and the running loss that both splits are watched by."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from imagewright.errors import EvidenceError
from imagewright.metrics.counts import BINS, Counts
from imagewright.metrics.scores import SUMMARY, scores
from imagewright.models.precision import full_precision
from imagewright.tensors.dataset import IGNORE_INDEX, Batch


class RunningLoss:
    """The mean loss of an epoch, weighted by images.

    Attributes:
        total: sum over images, on the device, so that a step need not wait for it.
        images: that were counted.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self.total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.images = 0

    def update(self, loss: Tensor, images: int) -> None:
        """Add a batch."""
        self.total += loss.detach() * images
        self.images += images

    def compute(self, fabric: Fabric) -> tuple[float, int]:
        """Mean and images, over all processes."""
        both = torch.stack([self.total, torch.tensor(float(self.images), dtype=torch.float64, device=self.device)])
        total, images = fabric.all_reduce(both, reduce_op="sum").tolist()  # type: ignore[union-attr]
        return total / max(images, 1), int(images)

    def state_dict(self) -> dict[str, float]:
        """What was counted so far."""
        return {"total": self.total.item(), "images": self.images}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on where `state` was taken."""
        self.total.fill_(state["total"])
        self.images = int(state["images"])


class Validation:
    """Scores a network on val.

    Args:
        loader: this process's share of val.
        images: in all of val.
        loss: takes logits and targets.
        task, classes, ignore: as for `imagewright.metrics.scores.scores`.
    """

    def __init__(
        self, loader: Iterable[Batch], images: int, loss: nn.Module, task: str, classes: Sequence[str],
        ignore: Sequence[str], fabric: Fabric,
    ) -> None:  # fmt: skip
        self.loader = loader
        self.images = images
        self.loss_function = loss
        self.task = task
        self.classes = list(classes)
        self.ignore = list(ignore)
        self.fabric = fabric
        self.confusion = MulticlassConfusionMatrix(len(classes), ignore_index=IGNORE_INDEX).to(fabric.device)
        self.loss = RunningLoss(fabric.device)

    def measure(self, network: nn.Module) -> dict[str, float]:
        """One pass over val, in full precision whatever the training's is: that is how the weights will be served.

        Returns:
            `val/<metric>` for the metrics of the task, and `val/loss`.

        Raises:
            EvidenceError: the loss holds more or less than one pass.
        """
        self.confusion.reset()
        self.loss.reset()
        network.eval()
        with torch.inference_mode(), full_precision():
            for images, targets in self.loader:
                images, targets = self.fabric.to_device(images), self.fabric.to_device(targets)
                logits = network(images)
                loss = self.loss_function(logits, targets)
                self.loss.update(loss, len(images))
                self.confusion.update(logits.argmax(dim=1), targets)
        mean, counted = self.loss.compute(self.fabric)
        check_fresh("val", counted, self.images)
        confusion = self.confusion.compute().cpu().numpy().astype("float64")[None]
        counts = Counts(confusion, np.zeros((1, BINS, 3)), np.zeros(1))
        computed = scores(counts, self.task, self.classes, self.ignore)
        return {"val/loss": mean} | {f"val/{name}": float(computed[name][0]) for name in SUMMARY[self.task]}


def check_fresh(split: str, counted: int, images: int) -> None:
    """Stop if a loss was not reset when its epoch started, so that the curve would mix epochs.

    Raises:
        EvidenceError: it holds another number of images than an epoch has.
    """
    if counted != images:
        raise EvidenceError(
            f"train: the {split} loss holds {counted} images, but an epoch has {images}",
            "it carries something over from another epoch: reset it when an epoch starts",
        )
