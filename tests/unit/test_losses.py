"""Losses by hand: what a model is told to become, and which pixels have no say in it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from imagewright.config.train import CrossEntropy, DiceCrossEntropy, DiceFocal, Focal, LossConfig
from imagewright.errors import ModelError
from imagewright.tensors.dataset import IGNORE_INDEX
from imagewright.train.losses import balanced_weights, build_loss

COUNTS = [600, 300, 100]
WEIGHTS = np.array([1000 / (3 * count) for count in COUNTS])
EVERY: list[LossConfig] = [
    CrossEntropy(name="cross_entropy"),
    CrossEntropy(name="cross_entropy", label_smoothing=0.2, class_weights="balanced"),
    Focal(name="focal"),
    Focal(name="focal", gamma=0.5, class_weights="balanced"),
    DiceCrossEntropy(name="dice_ce"),
    DiceCrossEntropy(name="dice_ce", include_background=True, class_weights="balanced"),
    DiceFocal(name="dice_focal"),
    DiceFocal(name="dice_focal", gamma=0.0, class_weights="balanced"),
]
every_loss = pytest.mark.parametrize("config", EVERY, ids=lambda config: config.name)


def batch(ignored: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """N × C × H × W logits and N × H × W targets."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (2, 3, 6, 5)).astype(np.float32)
    targets = generator.integers(0, 3, (2, 6, 5))
    targets[generator.random(targets.shape) < ignored] = IGNORE_INDEX
    return torch.tensor(logits), torch.tensor(targets)


def mean_by_hand(logits: Tensor, targets: Tensor, item: Callable[[np.ndarray, int], float]) -> float:
    """The mean of `item(log probabilities, class)` over all that counts."""
    logs = log_softmax(logits.numpy().astype(np.float64), axis=1)
    losses = [
        item(logs[(place[0], slice(None), *place[1:])], int(targets[place]))
        for place in np.ndindex(*targets.shape)
        if targets[place] != IGNORE_INDEX
    ]
    return float(np.mean(losses))


def entropy_by_hand(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, weights: np.ndarray | None = None
) -> float:
    """Szegedy et al. 2016, section 7: the label's share is 1 − s, and s is spread over all classes."""
    weighed = np.ones(logits.shape[1]) if weights is None else weights
    return mean_by_hand(
        logits, targets,
        lambda row, cls: -(1 - smoothing) * weighed[cls] * row[cls] - smoothing * float((weighed * row).mean()),
    )  # fmt: skip


def focal_by_hand(logits: Tensor, targets: Tensor, gamma: float, weights: np.ndarray | None = None) -> float:
    """Lin et al. 2017, equation 5."""
    weighed = np.ones(logits.shape[1]) if weights is None else weights
    return mean_by_hand(
        logits, targets, lambda row, cls: float(-weighed[cls] * (1 - np.exp(row[cls])) ** gamma * row[cls])
    )


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
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["even", "balanced"])
def test_cross_entropy_of_pixels(smoothing: float, weights: np.ndarray | None) -> None:
    logits, targets = batch()
    balanced = "none" if weights is None else "balanced"
    loss = build_loss(CrossEntropy(name="cross_entropy", label_smoothing=smoothing, class_weights=balanced), COUNTS)
    assert loss(logits, targets).item() == pytest.approx(entropy_by_hand(logits, targets, smoothing, weights), rel=1e-5)


def test_cross_entropy_of_images() -> None:
    logits, targets = torch.randn(400, 300, generator=torch.Generator().manual_seed(0)), torch.arange(400) % 300
    # Class 255 is a class like every other.
    loss = build_loss(CrossEntropy(name="cross_entropy"))
    assert loss(logits, targets).item() == pytest.approx(entropy_by_hand(logits, targets), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["even", "balanced"])
def test_focal_loss(gamma: float, weights: np.ndarray | None) -> None:
    logits, targets = batch()
    loss = build_loss(Focal(name="focal", gamma=gamma, class_weights="none" if weights is None else "balanced"), COUNTS)
    assert loss(logits, targets).item() == pytest.approx(focal_by_hand(logits, targets, gamma, weights), rel=1e-5)


@pytest.mark.parametrize("background", [False, True])
def test_dice_and_the_loss_of_pixels(background: bool) -> None:
    logits, targets = batch()
    dice = dice_by_hand(logits, targets, [0, 1, 2] if background else [1, 2])
    entropy, focal = entropy_by_hand(logits, targets), focal_by_hand(logits, targets, 3.0)
    config = DiceCrossEntropy(name="dice_ce", dice_weight=2.0, ce_weight=0.5, include_background=background)
    assert build_loss(config)(logits, targets).item() == pytest.approx(2 * dice + 0.5 * entropy, rel=1e-4)
    config2 = DiceFocal(name="dice_focal", dice_weight=2.0, focal_weight=0.5, gamma=3.0, include_background=background)
    assert build_loss(config2)(logits, targets).item() == pytest.approx(2 * dice + 0.5 * focal, rel=1e-4)


@pytest.mark.parametrize("config", EVERY[:4], ids=lambda config: config.name)
def test_mixed_labels(config: LossConfig) -> None:
    # A label that is shared out is the same share of each loss; a whole label is the label.
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    one, other = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([2, 0, 1, 1, 1, 0])
    loss = build_loss(config, COUNTS)

    def shares(labels: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(labels, 3).float()

    assert loss(logits, shares(one)).item() == pytest.approx(loss(logits, one).item(), rel=1e-5)
    mixed = loss(logits, 0.3 * shares(one) + 0.7 * shares(other)).item()
    assert mixed == pytest.approx(0.3 * loss(logits, one).item() + 0.7 * loss(logits, other).item(), rel=1e-5)


@every_loss
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), ignored=st.floats(0.05, 0.95), other=st.floats(-30, 30))
def test_ignored_pixels_have_no_say(config: LossConfig, seed: int, ignored: float, other: float) -> None:
    logits, targets = batch(ignored, seed)
    hidden = (targets == IGNORE_INDEX).unsqueeze(1).expand_as(logits)
    changed = torch.where(hidden, torch.randn_like(logits) * other, logits).requires_grad_()
    logits.requires_grad_()
    loss = build_loss(config, COUNTS)
    values = [loss(given_logits, targets) for given_logits in (logits, changed)]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-5, abs=1e-6)
    for value in values:
        value.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and changed.grad is not None
    assert not logits.grad[hidden].any() and not changed.grad[hidden].any()
    torch.testing.assert_close(logits.grad, changed.grad, rtol=1e-4, atol=1e-6)


@every_loss
def test_a_batch_without_anything_that_counts(config: LossConfig) -> None:
    # A tile outside of the annotated region: nothing to learn from, and no reason for the training to end.
    logits, targets = batch(ignored=1.1)
    logits.requires_grad_()
    value = build_loss(config, COUNTS)(logits, targets)
    value.backward()
    assert value.item() == 0 and logits.grad is not None and not logits.grad.any()


@every_loss
def test_an_image_without_anything_that_counts_is_no_image(config: LossConfig) -> None:
    logits, targets = batch()
    blank = torch.cat([targets, torch.full_like(targets[:1], IGNORE_INDEX)])
    loss = build_loss(config, COUNTS)
    assert loss(torch.cat([logits, logits[:1]]), blank).item() == pytest.approx(loss(logits, targets).item(), rel=1e-5)


@every_loss
@pytest.mark.parametrize("certainty", [30.0, 200.0])
def test_a_certain_answer_has_a_slope(config: LossConfig, certainty: float) -> None:
    _, targets = batch(ignored=0.1)
    right = torch.nn.functional.one_hot(targets.clamp_min(0), 3).movedim(-1, 1) * certainty
    for sign in (1, -1):
        logits = (sign * right).requires_grad_()
        build_loss(config, COUNTS)(logits, targets).backward()
        assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("config", [EVERY[0], EVERY[2], EVERY[4], EVERY[6]], ids=lambda config: config.name)
def test_a_right_answer_costs_nothing(config: LossConfig) -> None:
    _, targets = batch(ignored=0)
    logits = torch.nn.functional.one_hot(targets, 3).movedim(-1, 1) * 60.0
    assert build_loss(config)(logits, targets).item() == pytest.approx(0, abs=1e-4)
    assert build_loss(config)(-logits, targets).item() > 5


@every_loss
def test_a_batch_in_equal_parts_is_the_batch(config: LossConfig) -> None:
    # Gradients are accumulated over parts of a batch; the weights of its classes must not depend on the cut.
    logits, targets = batch(ignored=0)
    loss = build_loss(config, COUNTS)
    parts = [loss(logits[i : i + 1], targets[i : i + 1]).item() for i in range(2)]
    assert np.mean(parts) == pytest.approx(loss(logits, targets).item(), rel=1e-5)


def test_balanced_weights() -> None:
    labels = np.repeat([0, 1, 2], COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(COUNTS) == pytest.approx(expected)
    # A class that is ignored, or that no training image shows, takes nothing from the others.
    assert balanced_weights([600, 0, 300, 100]) == pytest.approx([expected[0], 0, *expected[1:]])
    for nothing in (None, [], [0, 0]):
        with pytest.raises(ModelError, match="balanced needs the number"):
            balanced_weights(nothing)


def plain(config: LossConfig) -> dict[str, object]:
    loss = build_loss(config, COUNTS)
    return {
        name: value
        for name, value in vars(loss).items()
        if value is None or isinstance(value, bool | int | float | str | list)
    }


def test_a_trial_shows_its_loss() -> None:
    # `trial.json` holds these values: two trials with other losses must not look alike.
    other = [
        *EVERY,
        CrossEntropy(name="cross_entropy", label_smoothing=0.1),
        Focal(name="focal", gamma=1.0),
        DiceCrossEntropy(name="dice_ce", dice_weight=0.5),
        DiceCrossEntropy(name="dice_ce", ce_weight=0.5),
        DiceCrossEntropy(name="dice_ce", include_background=True),
        DiceFocal(name="dice_focal", gamma=1.0),
        DiceFocal(name="dice_focal", focal_weight=0.5),
    ]
    shown = [{"class": type(build_loss(config, COUNTS)).__name__, **plain(config)} for config in other]
    assert all(one != another for place, one in enumerate(shown) for another in shown[:place])


def test_settings_are_no_weights() -> None:
    assert not build_loss(EVERY[1], COUNTS).state_dict()
