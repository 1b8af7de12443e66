"""The temperature: whoever acts on "90 % sure" must be right nine times in ten."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from imagewright.statistics.temperature import RANGE, fit_temperature


@pytest.mark.parametrize(("margin", "right"), [(2.0, 0.7), (5.0, 0.8), (0.5, 0.9), (1.0, 0.731)])
def test_closed_form_of_two_classes(margin: float, right: float) -> None:
    # One margin for all, a share p right: the likelihood is largest where sigmoid(margin / T) = p.
    count = 1000
    logits = np.tile(np.array([[margin, 0.0]], np.float32), (count, 1))
    targets = (np.arange(count) >= right * count).astype(np.int64)
    share = (targets == 0).mean()
    assert fit_temperature(logits, targets) == pytest.approx(margin / np.log(share / (1 - share)), rel=1e-4)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_slope_is_zero_there(true: float) -> None:
    # Independent of how it is searched: the derivative of the likelihood by 1/T has its root there.
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (4000, 5)).astype(np.float32)
    targets = np.array([generator.choice(5, p=row) for row in softmax(logits.astype(np.float64) / true, axis=1)])

    def slope(inverse: float) -> float:
        shares = softmax(logits.astype(np.float64) * inverse, axis=1)
        return float(np.mean(np.take_along_axis(logits, targets[:, None], 1)[:, 0] - (shares * logits).sum(axis=1)))

    found = fit_temperature(logits, targets)
    assert found == pytest.approx(1 / brentq(slope, 0.05, 20), rel=1e-4)
    assert found == pytest.approx(true, rel=0.1)


def test_never_worse_than_none_and_decisions_stay() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 4, (500, 3)).astype(np.float32)
    targets = generator.integers(0, 3, 500)
    found = fit_temperature(logits, targets)

    def loss(temperature: float) -> float:
        return -float(np.mean(np.take_along_axis(log_softmax(logits / temperature, axis=1), targets[:, None], 1)))

    assert loss(found) <= min(loss(temperature) for temperature in np.geomspace(*RANGE, 200)) + 1e-6
    assert np.array_equal((logits / found).argmax(axis=1), logits.argmax(axis=1))


def test_a_model_without_a_mistake_stays_within_the_range() -> None:
    # Its likelihood grows without end as the temperature falls.
    targets = np.arange(60) % 3
    found = fit_temperature((np.eye(3)[targets] * 2).astype(np.float32), targets)
    assert RANGE[0] <= found < 0.2


def test_huge_logits_do_not_overflow() -> None:
    targets = np.arange(60) % 3
    logits = (np.eye(3)[targets] * 3000).astype(np.float32)
    logits[0] = logits[0][::-1] + 1
    assert np.isfinite(fit_temperature(logits, targets))
