"""Intervals: a team that reads 0.91 to 0.94 must be able to rely on it, above all where images come in groups."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from imagewright.metrics.counts import Counts, count_samples
from imagewright.statistics.bootstrap import Intervals, score_with_intervals

CLASSES = ["a", "b"]


def counted(right: NDArray[np.bool_]) -> Counts:
    """Counts of decisions of which these are right."""
    generator = np.random.default_rng(1)
    targets = generator.integers(0, 2, len(right))
    decided = np.where(right, targets, 1 - targets)
    return count_samples(np.eye(2, dtype=np.float32)[decided] * 0.8 + 0.1, targets)


def intervals(counts: Counts, groups: list[str], resamples: int = 2000, seed: int = 0) -> Intervals:
    return score_with_intervals(
        counts, groups, "classification", CLASSES, [], resamples=resamples, confidence=0.95, seed=seed
    )


def each(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_like_scipys() -> None:
    right = np.random.default_rng(0).random(300) < 0.85
    found = intervals(counted(right), each(300), resamples=5000)["accuracy"]
    expected = stats.bootstrap(
        (right.astype(float),), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert found["value"] == pytest.approx(right.mean(), abs=1e-6)
    assert found["low"] == pytest.approx(expected.low, abs=0.007)
    assert found["high"] == pytest.approx(expected.high, abs=0.007)


def test_like_the_binomial_distribution() -> None:
    right = np.arange(400) < 360
    found = intervals(counted(right), each(400), resamples=5000)["accuracy"]
    low, high = stats.binom(400, 0.9).ppf([0.025, 0.975]) / 400
    assert found["low"] == pytest.approx(low, abs=0.004) and found["high"] == pytest.approx(high, abs=0.004)


def test_images_of_one_patient_count_as_one() -> None:
    # 20 patients of 20 images that are all right or all wrong: 20 facts, not 400.
    patients = np.arange(20) < 16
    right = np.repeat(patients, 20)
    by_patient = intervals(counted(right), [f"patient {number // 20}" for number in range(400)])["accuracy"]
    by_image = intervals(counted(right), each(400))["accuracy"]
    low, high = stats.binom(20, 0.8).ppf([0.025, 0.975]) / 20
    assert by_patient["low"] == pytest.approx(low, abs=0.051) and by_patient["high"] == pytest.approx(high, abs=0.051)
    assert width(by_patient) > 3.5 * width(by_image)


def width(interval: dict[str, float | None]) -> float:
    assert interval["low"] is not None and interval["high"] is not None
    return interval["high"] - interval["low"]


def test_every_metric_has_its_value_inside() -> None:
    generator = np.random.default_rng(0)
    found = intervals(counted(generator.random(200) < 0.8), each(200))
    assert set(found) == {"accuracy", "macro_f1", "ece", "f1/a", "f1/b"}
    for name in ("accuracy", "macro_f1", "f1/a", "f1/b"):
        low, value, high = (found[name][key] for key in ("low", "value", "high"))
        assert low is not None and value is not None and high is not None
        assert low < value < high


def test_same_seed_same_numbers() -> None:
    counts = counted(np.arange(50) % 5 > 0)
    assert intervals(counts, each(50), seed=3) == intervals(counts, each(50), seed=3)
    assert intervals(counts, each(50), seed=3) != intervals(counts, each(50), seed=4)


def test_names_of_groups_do_not_matter() -> None:
    counts = counted(np.arange(60) % 5 > 0)
    groups = [f"g{number % 6}" for number in range(60)]
    assert intervals(counts, groups) == intervals(counts, [f"h{9 - int(name[1:])}" for name in groups])


def test_resamples_in_several_chunks() -> None:
    # 250 resamples in chunks of 100: the last 50 must count too, and no more than that.
    counts = counted(np.arange(40) % 4 > 0)
    generator = np.random.default_rng(0)
    weights = generator.multinomial(40, np.full(40, 1 / 40), size=250)
    by_hand = (weights * (np.arange(40) % 4 > 0)).sum(axis=1) / 40
    found = intervals(counts, each(40), resamples=250)["accuracy"]
    assert [found["low"], found["high"]] == pytest.approx(list(np.quantile(by_hand, [0.025, 0.975])), abs=1e-6)


def test_one_group_knows_nothing_of_its_spread() -> None:
    found = intervals(counted(np.arange(20) % 4 > 0), ["one"] * 20)["accuracy"]
    assert found == {"value": 0.75, "low": 0.75, "high": 0.75}


def test_what_is_not_defined_is_none() -> None:
    # JSON has no NaN.
    counts = count_samples(np.array([[0.9, 0.1]] * 5, np.float32), np.zeros(5, np.int64))
    found = intervals(counts, each(5), resamples=100)
    assert found["f1/b"] == {"value": None, "low": None, "high": None}
    assert found["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
