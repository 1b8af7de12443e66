"""What each sample adds to the metrics, against a loop that a person can check."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

from imagewright.metrics.counts import BINS, Counts, count_samples


def answers(shape: tuple[int, ...], classes: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities and true classes; in masks, a tenth of the pixels is not to be counted."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (*shape, classes))
    exponents = np.exp(logits)
    probabilities = (exponents / exponents.sum(axis=-1, keepdims=True)).astype(np.float32)
    targets = generator.integers(0, classes, shape)
    ignored = generator.random(shape) < (0.1 if len(shape) > 1 else 0)
    return probabilities, np.where(ignored, 255, targets)


def counted_by_hand(probabilities: NDArray[np.float32], targets: NDArray[np.int64]) -> Counts:
    samples, classes = len(targets), probabilities.shape[-1]
    confusion = np.zeros((samples, classes, classes))
    calibration = np.zeros((samples, BINS, 3))
    top5 = np.zeros(samples)
    for sample in range(samples):
        for place in np.ndindex(targets.shape[1:]):
            truth = targets[sample][place]
            if truth == 255 and targets.ndim > 1:
                continue
            row = [float(value) for value in probabilities[sample][place]]
            best = max(row)
            decided = row.index(best)
            confusion[sample, truth, decided] += 1
            box = calibration[sample, min(int(best * BINS), BINS - 1)]
            box += [1, best, decided == truth]
            # Python's sort is stable: of equals, the first stays the first.
            top5[sample] += truth in sorted(range(classes), key=lambda position: -row[position])[:5]
    return Counts(confusion, calibration, top5)


def assert_same(one: Counts, other: Counts) -> None:
    np.testing.assert_array_equal(one.confusion, other.confusion)
    np.testing.assert_allclose(one.calibration, other.calibration, atol=1e-9)
    np.testing.assert_array_equal(one.top5, other.top5)


@pytest.mark.parametrize(("shape", "classes"), [((40,), 3), ((40,), 12), ((5, 6, 7), 3), ((3, 4, 4), 7), ((6,), 2)])
def test_against_a_loop(shape: tuple[int, ...], classes: int) -> None:
    probabilities, targets = answers(shape, classes)
    assert_same(count_samples(probabilities, targets), counted_by_hand(probabilities, targets))


@pytest.mark.parametrize("shape", [(120,), (4, 5, 6)])
def test_of_equals_the_lower_index_comes_first(shape: tuple[int, ...]) -> None:
    # A model that answers 1/120 for every class knows nothing, and is in the first five for 5 classes of 120.
    targets = np.arange(120).reshape(shape)
    alike = np.full((*shape, 120), 1 / 120, np.float32)
    counts = count_samples(alike, targets)
    assert counts.total().top5[0] == 5
    assert_same(counts, counted_by_hand(alike, targets))
    probabilities, targets = answers(shape, 12)
    coarse = probabilities.round(1)
    assert_same(count_samples(coarse, targets), counted_by_hand(coarse, targets))


def test_against_scikit_learn() -> None:
    probabilities, targets = answers((300,), 10)
    total = count_samples(probabilities, targets).total()
    assert np.array_equal(total.confusion[0], confusion_matrix(targets, probabilities.argmax(axis=1), labels=range(10)))
    assert total.top5[0] == top_k_accuracy_score(targets, probabilities, k=5, normalize=False, labels=range(10))


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 12),
    pixels=st.sampled_from([(), (3,), (2, 3)]),
    classes=st.integers(2, 8),
    seed=st.integers(0, 2**16),
    cut=st.integers(0, 12),
)
def test_sums(samples: int, pixels: tuple[int, ...], classes: int, seed: int, cut: int) -> None:
    # Whatever is summed first (batches, groups, resamples), every decision counts once.
    probabilities, targets = answers((samples, *pixels), classes, seed)
    counts = count_samples(probabilities, targets)
    decisions = (targets != 255).reshape(samples, -1).sum(axis=1)
    assert np.array_equal(counts.confusion.sum(axis=(1, 2)), decisions)
    assert np.array_equal(counts.calibration[..., 0].sum(axis=1), decisions)
    assert np.array_equal(counts.calibration[..., 2].sum(axis=1), np.trace(counts.confusion, axis1=1, axis2=2))
    assert (counts.top5 <= decisions).all()
    for position in range(classes):
        assert counts.confusion[:, position].sum() == (targets == position).sum()
    halves = [
        count_samples(probabilities[part], targets[part])
        for part in (slice(0, cut), slice(cut, None))
        if len(targets[part])
    ]
    assert_same(Counts.concatenate(halves), counts)
    assert_same(Counts.from_flat(counts.flat, classes), counts)
    assert_same(Counts.from_flat(csr_array(counts.flat.toarray().sum(axis=0, keepdims=True)), classes), counts.total())


def test_a_sample_without_a_counted_pixel_adds_nothing() -> None:
    probabilities, targets = answers((3, 4), 3)
    targets[1] = 255
    counts = count_samples(probabilities, targets)
    assert not counts.confusion[1].any() and not counts.calibration[1].any() and not counts.top5[1]
    assert counts.confusion[2].any()


def test_certainty_falls_into_the_last_bin() -> None:
    counts = count_samples(np.array([[1.0, 0.0]], np.float32), np.array([0]))
    assert counts.calibration[0, -1].tolist() == [1, 1, 1]


def test_a_classifier_may_have_a_class_255() -> None:
    # Whoever tells 300 breeds apart would have one of them left out of every number.
    probabilities, _ = answers((4,), 300)
    targets = np.array([0, 255, 299, 255])
    confusion = count_samples(probabilities, targets).total().confusion[0]
    assert confusion.sum() == 4 and confusion[255].sum() == 2
