"""The temperature: whoever acts on "90 % sure" must be right nine times in ten."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from imagewright.statistics.temperature import RANGE, fit_temperature


def platt(targets: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """N × C probabilities that are fitted: the target's stands a little below 1."""
    rest = 1 / (len(targets) + 2)
    return np.eye(classes)[targets] * (1 - rest - rest / (classes - 1)) + rest / (classes - 1)


@pytest.mark.parametrize(("margin", "right"), [(2.0, 0.7), (5.0, 0.8), (0.5, 0.9), (1.0, 0.731)])
def test_closed_form_of_two_classes(margin: float, right: float) -> None:
    # One margin for all, a share p right: the likelihood is largest where sigmoid(margin / T) = p.
    count = 1000
    logits = np.tile(np.array([[margin, 0.0]], np.float32), (count, 1))
    targets = (np.arange(count) >= right * count).astype(np.int64)
    share = platt(targets, 2)[:, 0].mean()
    assert share == pytest.approx(right, abs=1e-3)
    assert fit_temperature(logits, targets) == pytest.approx(margin / np.log(share / (1 - share)), rel=1e-4)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_slope_is_zero_there(true: float) -> None:
    # Independent of how it is searched: the derivative of the likelihood by 1/T has its root there.
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (4000, 5)).astype(np.float32)
    targets = np.array([generator.choice(5, p=row) for row in softmax(logits.astype(np.float64) / true, axis=1)])
    wanted = platt(targets, 5)

    def slope(inverse: float) -> float:
        shares = softmax(logits.astype(np.float64) * inverse, axis=1)
        return float(np.mean(((wanted - shares) * logits).sum(axis=1)))

    found = fit_temperature(logits, targets)
    assert found == pytest.approx(1 / brentq(slope, 0.05, 20), rel=1e-4)
    assert found == pytest.approx(true, rel=0.1)


def test_never_worse_than_none_and_decisions_stay() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 4, (500, 3)).astype(np.float32)
    targets = generator.integers(0, 3, 500)
    found = fit_temperature(logits, targets)

    def loss(temperature: float) -> float:
        return -float(np.mean((platt(targets, 3) * log_softmax(logits / temperature, axis=1)).sum(axis=1)))

    assert loss(found) <= min(loss(temperature) for temperature in np.geomspace(*RANGE, 200)) + 1e-6
    assert np.array_equal((logits / found).argmax(axis=1), logits.argmax(axis=1))


@pytest.mark.parametrize(("count", "classes"), [(45, 10), (60, 3), (1000, 2)])
def test_a_model_without_a_mistake_is_not_sure_of_everything(count: int, classes: int) -> None:
    # Its plain likelihood grows without end as the temperature falls.
    targets = np.arange(count) % classes
    logits = (np.eye(classes)[targets] * 2).astype(np.float32)
    confidence = softmax(logits / fit_temperature(logits, targets), axis=1).max(axis=1)
    assert confidence == pytest.approx((count + 1) / (count + 2), abs=1e-5)


def test_huge_logits_do_not_overflow() -> None:
    targets = np.arange(60) % 3
    logits = (np.eye(3)[targets] * 3000).astype(np.float32)
    logits[0] = logits[0][::-1] + 1
    assert np.isfinite(fit_temperature(logits, targets))
