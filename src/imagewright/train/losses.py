"""Losses over logits and targets, each the mean over what counts; a target of `IGNORE_INDEX` counts in none of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagewright.config.train import CrossEntropy, DiceCrossEntropy, DiceFocal, Focal, LossConfig
from imagewright.errors import ModelError
from imagewright.tensors.dataset import IGNORE_INDEX


class CrossEntropyLoss(nn.Module):
    """Cross entropy of images or pixels, with smoothed labels (Szegedy et al. 2016, section 7).

    PyTorch's own divides by the sum of the class weights; here every counted item counts as one, so that a batch in
    parts has the same gradient as the whole batch.

    Args:
        label_smoothing: share of the probability that is spread over all classes.
        class_weights: one weight a class, or none.
    """

    weight: Tensor | None

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else list(class_weights)
        self.register_buffer("weight", _buffer(class_weights), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """N × C (× H × W) logits and N (× H × W) indices, or N × C shares of the classes, to one number."""
        losses = F.cross_entropy(
            logits,
            targets,
            weight=self.weight,
            ignore_index=IGNORE_INDEX,
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return _mean(losses, targets)


class FocalLoss(nn.Module):
    """Cross entropy times (1 − p)^γ (Lin et al., Focal Loss for Dense Object Detection, 2017, equation 4).

    Args:
        gamma: γ; 0 is cross entropy.
        class_weights: one weight a class (α in equation 5), or none.
    """

    weight: Tensor | None

    def __init__(self, gamma: float = 2.0, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.class_weights = None if class_weights is None else list(class_weights)
        self.register_buffer("weight", _buffer(class_weights), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """N × C (× H × W) logits and N (× H × W) indices, or N × C shares of the classes, to one number."""
        logs = F.log_softmax(logits, dim=1)
        # The power's slope at a certain answer may be endless, so it stays a little away from it.
        logs = logs * (-torch.expm1(logs)).clamp_min(1e-7) ** self.gamma
        if targets.is_floating_point():
            weights = 1.0 if self.weight is None else self.weight
            return _mean(-(targets * weights * logs).sum(dim=1), targets)
        return _mean(F.nll_loss(logs, targets, self.weight, ignore_index=IGNORE_INDEX, reduction="none"), targets)


class DiceLoss(nn.Module):
    """Soft Dice (Milletari et al. 2016) of MONAI, of each image and class, over the pixels that count.

    Args:
        include_background: whether the first class takes part.
    """

    def __init__(self, include_background: bool) -> None:
        # Imported here, since it takes a second that a classifier need not wait.
        from monai.losses import DiceLoss as MonaiDiceLoss

        super().__init__()
        self.include_background = include_background
        self.dice = MonaiDiceLoss(include_background=include_background, reduction="none")

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """N × C × H × W logits and N × H × W indices to one number."""
        counted = targets != IGNORE_INDEX
        one_hot = F.one_hot(torch.where(counted, targets, 0), logits.shape[1]).movedim(-1, 1)
        shown = counted.unsqueeze(1)
        losses: Tensor = self.dice(torch.softmax(logits, dim=1) * shown, one_hot * shown)
        # An image of which nothing counts is none.
        images = counted.flatten(1).any(dim=1)
        return (losses.flatten(1).mean(dim=1) * images).sum() / images.sum().clamp_min(1)


class DiceSum(nn.Module):
    """Weighted sum of soft Dice and a loss of pixels.

    Class weights belong to the pixels' loss: Dice counts every class alike as it is.

    Args:
        dice_weight, pixel_weight: of the two terms.
        include_background: whether the first class takes part in Dice.
        pixels: cross entropy or focal loss; its settings show in the record beside the others.
    """

    def __init__(
        self, dice_weight: float, pixel_weight: float, include_background: bool, pixels: CrossEntropyLoss | FocalLoss
    ) -> None:
        super().__init__()
        self.dice_weight = dice_weight
        self.pixel_weight = pixel_weight
        self.include_background = include_background
        self.pixel_loss = type(pixels).__name__
        self.gamma = pixels.gamma if isinstance(pixels, FocalLoss) else None
        self.class_weights = pixels.class_weights
        self.dice = DiceLoss(include_background)
        self.pixels = pixels

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """N × C × H × W logits and N × H × W indices to one number."""
        dice: Tensor = self.dice(logits, targets)
        pixels: Tensor = self.pixels(logits, targets)
        return self.dice_weight * dice + self.pixel_weight * pixels


def build_loss(config: LossConfig, counts: Sequence[int] | None = None) -> nn.Module:
    """The loss that the config names.

    Args:
        config: its name and settings.
        counts: images or pixels of each class in the train split, in the order of the outputs; 0 for a class that is
            ignored. Needed for balanced class weights.

    Raises:
        ModelError: balanced weights were asked for without counts.
    """
    weights = balanced_weights(counts) if config.class_weights == "balanced" else None
    match config:
        case CrossEntropy():
            return CrossEntropyLoss(config.label_smoothing, weights)
        case Focal():
            return FocalLoss(config.gamma, weights)
        case DiceCrossEntropy():
            pixels = CrossEntropyLoss(class_weights=weights)
            return DiceSum(config.dice_weight, config.ce_weight, config.include_background, pixels)
        case DiceFocal():
            focal = FocalLoss(config.gamma, weights)
            return DiceSum(config.dice_weight, config.focal_weight, config.include_background, focal)


def balanced_weights(counts: Sequence[int] | None) -> list[float]:
    """Weights n / (C · n_c), as scikit-learn's `balanced`: a class weighs the more, the rarer it is.

    C is the number of classes that occur; a class that never does gets 0. The mean weight over the train split is 1.

    Raises:
        ModelError: nothing was counted.
    """
    if not counts or not any(counts):
        raise ModelError(
            "loss.class_weights: balanced needs the number of images or pixels of each class", "set it to none"
        )
    total, classes = sum(counts), sum(count > 0 for count in counts)
    return [total / (classes * count) if count else 0.0 for count in counts]


def _buffer(class_weights: Sequence[float] | None) -> Tensor | None:
    return None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)


def _mean(losses: Tensor, targets: Tensor) -> Tensor:
    """Over what counts; 0 where nothing does."""
    if targets.is_floating_point():
        return losses.mean()
    return losses.sum() / (targets != IGNORE_INDEX).sum().clamp_min(1)
