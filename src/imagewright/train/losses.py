"""Losses over logits and class indices; a target of `IGNORE_INDEX` counts in none of them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagewright.config.train import CrossEntropy, DiceCrossEntropy, LossConfig
from imagewright.tensors.dataset import IGNORE_INDEX


class DiceCrossEntropyLoss(nn.Module):
    """Weighted sum of soft Dice (Milletari et al. 2016) and cross entropy, both without ignored pixels."""

    def __init__(self, dice_weight: float, ce_weight: float, include_background: bool) -> None:
        # Imported here, since it takes a second that a classifier need not wait.
        from monai.losses import DiceLoss

        super().__init__()
        self.dice_weight = dice_weight
        self.ce_weight = ce_weight
        self.dice = DiceLoss(include_background=include_background)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """N × C × H × W logits and N × H × W indices to one number."""
        counted = targets != IGNORE_INDEX
        one_hot = F.one_hot(torch.where(counted, targets, 0), logits.shape[1]).movedim(-1, 1)
        shown = counted.unsqueeze(1)
        dice: Tensor = self.dice(torch.softmax(logits, dim=1) * shown, one_hot * shown)
        entropy = F.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX)
        return self.dice_weight * dice + self.ce_weight * entropy


def build_loss(config: LossConfig) -> nn.Module:
    """The loss that the config names."""
    match config:
        case CrossEntropy():
            return nn.CrossEntropyLoss(ignore_index=IGNORE_INDEX, label_smoothing=config.label_smoothing)
        case DiceCrossEntropy():
            return DiceCrossEntropyLoss(config.dice_weight, config.ce_weight, config.include_background)
