"""What each sample adds to the metrics: counts that can be summed in any order and over any resample."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from imagewright.imaging import IGNORED

BINS = 15
TOP = 5


@dataclass(frozen=True)
class Counts:
    """Counts of each sample, or of each group or resample after summing.

    Attributes:
        confusion: N × C × C: true class, predicted class.
        calibration: N × BINS × 3: decisions, sum of confidences, correct decisions, by confidence.
        top5: N: decisions whose true class is among the five most probable.
    """

    confusion: NDArray[np.float64]
    calibration: NDArray[np.float64]
    top5: NDArray[np.float64]

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Samples of several batches, in order."""
        return cls(
            np.concatenate([part.confusion for part in parts]),
            np.concatenate([part.calibration for part in parts]),
            np.concatenate([part.top5 for part in parts]),
        )

    def total(self) -> Self:
        """The sum over all samples, as one row."""
        return type(self)(
            self.confusion.sum(axis=0, keepdims=True),
            self.calibration.sum(axis=0, keepdims=True),
            self.top5.sum(axis=0, keepdims=True),
        )

    def flat(self) -> NDArray[np.float64]:
        """N × K, for weighted sums; `from_flat` is the inverse."""
        count = len(self.top5)
        return np.concatenate(
            [self.confusion.reshape(count, -1), self.calibration.reshape(count, -1), self.top5[:, np.newaxis]], axis=1
        )

    @classmethod
    def from_flat(cls, flat: NDArray[np.float64], classes: int) -> Self:
        """The inverse of `flat`."""
        ends = classes * classes, classes * classes + BINS * 3
        return cls(
            flat[:, : ends[0]].reshape(-1, classes, classes),
            flat[:, ends[0] : ends[1]].reshape(-1, BINS, 3),
            flat[:, ends[1]],
        )


def counted(targets: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which targets count: every image, and every pixel that is not ignored. A classifier may have a class 255."""
    return targets != IGNORED if targets.ndim > 1 else np.ones(len(targets), bool)


def count_samples(probabilities: NDArray[np.float32], targets: NDArray[np.integer]) -> Counts:
    """Count the decisions of each sample: one (classification), or one a pixel (segmentation).

    Args:
        probabilities: N (× H × W) × C.
        targets: N (× H × W), class indices; 255 in a mask does not count.
    """
    samples, classes = len(targets), probabilities.shape[-1]
    shown = counted(targets).ravel()
    probabilities = probabilities.reshape(-1, classes)[shown]
    truth = targets.ravel()[shown].astype(np.int64)
    sample = np.repeat(np.arange(samples), targets[0].size if samples else 0)[shown]
    decided = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = decided == truth

    cell = (sample * classes + truth) * classes + decided
    confusion = np.bincount(cell, minlength=samples * classes**2).reshape(samples, classes, classes)
    box = sample * BINS + np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    boxes = [np.bincount(box, weights, minlength=samples * BINS) for weights in (None, confidence, correct)]
    calibration = np.stack(boxes, axis=-1).reshape(samples, BINS, 3)
    if classes > TOP:
        own = np.take_along_axis(probabilities, truth[:, np.newaxis], axis=1)
        hits = (probabilities > own).sum(axis=1) < TOP
    else:
        hits = np.ones(len(truth), bool)
    top5 = np.bincount(sample, hits, minlength=samples)
    return Counts(confusion.astype(np.float64), calibration.astype(np.float64), top5.astype(np.float64))
