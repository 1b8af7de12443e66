"""Losses by hand: what a model is told to become, and which pixels have no say in it."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor

from imagewright.config.train import CrossEntropy, DiceCrossEntropy
from imagewright.tensors.dataset import IGNORE_INDEX
from imagewright.train.losses import build_loss


def batch(ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    """N × C × H × W logits and N × H × W targets."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (2, 3, 6, 5)).astype(np.float32)
    targets = generator.integers(0, 3, (2, 6, 5))
    targets[generator.random(targets.shape) < ignored] = IGNORE_INDEX
    return torch.tensor(logits), torch.tensor(targets)


def entropy_by_hand(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> float:
    """Szegedy et al. 2016, section 7: the label's share is 1 − s, and s is spread over all classes."""
    logs = log_softmax(logits.numpy().astype(np.float64), axis=1)
    losses = []
    for place in np.ndindex(*targets.shape):
        if targets[place] != IGNORE_INDEX:
            row = logs[(place[0], slice(None), *place[1:])]
            losses.append(-(1 - smoothing) * row[int(targets[place])] - smoothing * row.mean())
    return float(np.mean(losses))


def dice_by_hand(logits: Tensor, targets: Tensor, classes: list[int]) -> float:
    """Milletari et al. 2016, equation 1 with plain sums below, for each image and class; 1 − the mean."""
    shares = softmax(logits.numpy().astype(np.float64), axis=1)
    ratios = []
    for image in range(len(targets)):
        counted = (targets[image] != IGNORE_INDEX).numpy()
        for cls in classes:
            predicted = shares[image, cls][counted]
            true = (targets[image].numpy() == cls)[counted]
            ratios.append(2 * (predicted * true).sum() / (predicted.sum() + true.sum()))
    return 1 - float(np.mean(ratios))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_pixels(smoothing: float) -> None:
    logits, targets = batch()
    loss = build_loss(CrossEntropy(name="cross_entropy", label_smoothing=smoothing))
    assert loss(logits, targets).item() == pytest.approx(entropy_by_hand(logits, targets, smoothing), rel=1e-5)


def test_cross_entropy_of_images() -> None:
    logits, targets = torch.randn(400, 300, generator=torch.Generator().manual_seed(0)), torch.arange(400) % 300
    # Class 255 is a class like every other.
    loss = build_loss(CrossEntropy(name="cross_entropy"))
    assert loss(logits, targets).item() == pytest.approx(entropy_by_hand(logits, targets), rel=1e-5)


@pytest.mark.parametrize("background", [False, True])
def test_dice_and_cross_entropy(background: bool) -> None:
    logits, targets = batch()
    loss = build_loss(DiceCrossEntropy(name="dice_ce", dice_weight=2.0, ce_weight=0.5, include_background=background))
    dice = dice_by_hand(logits, targets, [0, 1, 2] if background else [1, 2])
    assert loss(logits, targets).item() == pytest.approx(2 * dice + 0.5 * entropy_by_hand(logits, targets), rel=1e-4)


@pytest.mark.parametrize("config", [CrossEntropy(name="cross_entropy"), DiceCrossEntropy(name="dice_ce")])
def test_ignored_pixels_have_no_say(config: CrossEntropy | DiceCrossEntropy) -> None:
    logits, targets = batch()
    ignored = (targets == IGNORE_INDEX).unsqueeze(1).expand_as(logits)
    logits.requires_grad_()
    build_loss(config)(logits, targets).backward()
    assert logits.grad is not None
    assert not logits.grad[ignored].any() and logits.grad[~ignored].any()


def test_a_right_answer_costs_nothing() -> None:
    _, targets = batch(ignored=0)
    logits = torch.nn.functional.one_hot(targets, 3).movedim(-1, 1) * 60.0
    assert build_loss(DiceCrossEntropy(name="dice_ce"))(logits, targets).item() == pytest.approx(0, abs=1e-4)
    assert build_loss(DiceCrossEntropy(name="dice_ce"))(-logits, targets).item() > 10
