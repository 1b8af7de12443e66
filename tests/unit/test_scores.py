"""Metrics against scikit-learn and torchmetrics: a team compares these numbers with everybody else's."""

import imagewright.models  # noqa: F401, I001  # First of all: makes torchvision importable, on which torchmetrics leans.

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_calibration_error

from imagewright.errors import DataError
from imagewright.evaluate.score import baseline
from imagewright.metrics.counts import BINS, count_samples
from imagewright.metrics.scores import constant_prediction, expected_calibration_error, scores


def answers(shape: tuple[int, ...], classes: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities that are right more often than not."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, shape)
    logits = generator.normal(0, 1.5, (*shape, classes)) + 2 * np.eye(classes)[targets]
    return torch.softmax(torch.tensor(logits), dim=-1).numpy().astype(np.float32), targets


def names(count: int) -> list[str]:
    return [f"c{position}" for position in range(count)]


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_classification(classes: int) -> None:
    probabilities, targets = answers((500,), classes)
    decided = probabilities.argmax(axis=1)
    found = {
        name: value[0]
        for name, value in scores(
            count_samples(probabilities, targets).total(), "classification", names(classes)
        ).items()
    }
    assert found["accuracy"] == pytest.approx(accuracy_score(targets, decided))
    assert found["macro_f1"] == pytest.approx(f1_score(targets, decided, average="macro"))
    by_class = f1_score(targets, decided, average=None)
    assert [found[f"f1/{name}"] for name in names(classes)] == pytest.approx(list(by_class))
    if classes > 5:
        assert found["top5_accuracy"] == pytest.approx(top_k_accuracy_score(targets, probabilities, k=5))
    else:
        assert "top5_accuracy" not in found


@pytest.mark.parametrize("classes", [2, 4])
def test_segmentation(classes: int) -> None:
    probabilities, targets = answers((6, 12, 12), classes)
    truth, decided = targets.ravel(), probabilities.argmax(axis=-1).ravel()
    found = {
        name: value[0]
        for name, value in scores(count_samples(probabilities, targets).total(), "segmentation", names(classes)).items()
    }
    iou, dice = jaccard_score(truth, decided, average=None), f1_score(truth, decided, average=None)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, decided))
    assert found["miou"] == pytest.approx(iou.mean())
    assert [found[f"iou/{name}"] for name in names(classes)] == pytest.approx(list(iou))
    assert [found[f"dice/{name}"] for name in names(classes)] == pytest.approx(list(dice))
    # The background is easy, and would flatter the mean.
    assert found["dice"] == pytest.approx(dice[1:].mean())


@pytest.mark.parametrize(("shape", "classes"), [((400,), 2), ((400,), 10), ((4, 9, 9), 3)])
def test_calibration_error(shape: tuple[int, ...], classes: int) -> None:
    probabilities, targets = answers(shape, classes)
    found = expected_calibration_error(count_samples(probabilities, targets).total().calibration)[0]
    flat = torch.tensor(probabilities.reshape(-1, classes)), torch.tensor(targets.ravel())
    assert found == pytest.approx(multiclass_calibration_error(*flat, classes, n_bins=BINS, norm="l1").item(), abs=1e-6)


def test_calibration_error_by_hand() -> None:
    # Three decisions at 0.9, of which two are right, and one at 0.6, which is wrong.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]], np.float32)
    found = expected_calibration_error(count_samples(probabilities, np.array([0, 0, 0, 1])).total().calibration)[0]
    assert found == pytest.approx((3 * abs(0.9 - 2 / 3) + 1 * abs(0.6 - 0)) / 4, abs=1e-6)


def test_a_class_that_neither_occurs_nor_is_predicted_is_left_out() -> None:
    # Counted as 0, a class without images would pull every mean down; as 1, up.
    probabilities, targets = answers((100,), 3)
    wider = np.pad(probabilities, ((0, 0), (0, 1)))
    found = scores(count_samples(wider, targets).total(), "classification", names(4))
    assert np.isnan(found["f1/c3"][0])
    assert found["macro_f1"][0] == pytest.approx(f1_score(targets, probabilities.argmax(axis=1), average="macro"))


def test_an_ignored_class_is_in_no_mean() -> None:
    probabilities, targets = answers((6, 8, 8), 4)
    kept = targets != 2
    found = scores(count_samples(probabilities, np.where(kept, targets, 255)).total(), "segmentation", names(4), ["c2"])
    truth, decided = targets[kept], probabilities.argmax(axis=-1)[kept]
    by_class = f1_score(truth, decided, labels=range(4), average=None, zero_division=0)
    assert "dice/c2" not in found and "iou/c2" not in found
    assert found["dice"][0] == pytest.approx((by_class[1] + by_class[3]) / 2)
    assert found["accuracy"][0] == pytest.approx(accuracy_score(truth, decided))


def test_pixels_are_summed_before_the_ratio() -> None:
    # A small structure missed in one image and a large one found in another: not the mean of 0 and 1.
    probabilities = np.zeros((2, 100, 2), np.float32)
    targets = np.zeros((2, 100), np.int64)
    targets[0, :2], targets[1, :50] = 1, 1
    probabilities[..., 0] = 1
    probabilities[1, :50] = [0, 1]
    found = scores(count_samples(probabilities, targets).total(), "segmentation", names(2))
    assert found["dice"][0] == pytest.approx(2 * 50 / (50 + 52))


def test_rows_do_not_mix() -> None:
    probabilities, targets = answers((40,), 3)
    counts = count_samples(probabilities, targets)
    right = (probabilities.argmax(axis=1) == targets).astype(float)
    assert np.array_equal(scores(counts, "classification", names(3))["accuracy"], right)


def test_the_baseline_says_one_class_for_everything() -> None:
    probabilities, targets = answers((200,), 3)
    confusion = constant_prediction(count_samples(probabilities, targets).total().confusion, 1)
    constant = np.ones_like(targets)
    assert np.array_equal(confusion[0].sum(axis=1), np.bincount(targets))
    assert np.trace(confusion[0]) / 200 == pytest.approx(accuracy_score(targets, constant))


def test_a_baseline_without_anything_to_find_is_named() -> None:
    # Of two classes the one that counts is missing: there is no mean, and JSON has no word for it.
    targets = np.zeros((2, 3, 3), np.int64)
    counts = count_samples(np.eye(2, dtype=np.float32)[targets], targets)
    meta = {
        "task": "segmentation", "classes": ["background", "cell"], "ignore": [],
        "splits": {"train": {"targets": {"background": 9, "cell": 9}}},
    }  # fmt: skip
    with pytest.raises(DataError, match="evaluate: dice is undefined on the test split"):
        baseline(counts, meta)
    targets[0, 0] = 1
    assert baseline(count_samples(np.eye(2, dtype=np.float32)[targets], targets), meta)["dice"] == 0
