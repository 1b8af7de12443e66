"""What each sample adds to the metrics: counts that can be summed in any order and over any resample."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from imagewright.imaging import IGNORED

BINS = 15
TOP = 5


class Counts:
    """Counts of each sample, or of each group or resample after summing.

    A sample fills a few of C² cells, so rows are kept sparse: 8,580 images of 120 classes would take a gigabyte.

    Args:
        confusion: N × C × C: true class, predicted class.
        calibration: N × BINS × 3: decisions, sum of confidences, correct decisions, by confidence.
        top5: N: decisions whose true class is among the five most probable; of equals, the lower index comes first.
    """

    def __init__(
        self, confusion: NDArray[np.float64], calibration: NDArray[np.float64], top5: NDArray[np.float64]
    ) -> None:
        count, self.classes = len(top5), confusion.shape[1]
        parts = [confusion.reshape(count, -1), calibration.reshape(count, -1), top5[:, np.newaxis]]
        self.flat = csr_array(np.concatenate(parts, axis=1))

    @classmethod
    def from_flat(cls, flat: csr_array, classes: int) -> Self:
        """Counts from N × (C² + 3 BINS + 1), the form that can be weighted and summed."""
        found = cls.__new__(cls)
        found.flat, found.classes = flat, classes
        return found

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Samples of several batches, in order."""
        return cls.from_flat(vstack([part.flat for part in parts], format="csr"), parts[0].classes)

    def __getitem__(self, positions: Sequence[int]) -> Self:
        """Some of the rows."""
        return self.from_flat(self.flat[list(positions)], self.classes)

    def total(self) -> Self:
        """The sum over all samples, as one row."""
        return self.from_flat(csr_array(self.flat.sum(axis=0)[np.newaxis]), self.classes)

    @property
    def confusion(self) -> NDArray[np.float64]:
        """N × C × C."""
        return self.flat[:, : self.classes**2].toarray().reshape(-1, self.classes, self.classes)  # type: ignore[no-any-return]

    @property
    def calibration(self) -> NDArray[np.float64]:
        """N × BINS × 3."""
        return self.flat[:, self.classes**2 : -1].toarray().reshape(-1, BINS, 3)  # type: ignore[no-any-return]

    @property
    def top5(self) -> NDArray[np.float64]:
        """N."""
        return self.flat[:, [-1]].toarray()[:, 0]  # type: ignore[no-any-return]


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
        # Of equals the lower index comes first, as in argmax: else a model that answers alike for all would be right.
        before = probabilities == own
        before &= np.arange(classes) < truth[:, np.newaxis]
        before |= probabilities > own
        hits = before.sum(axis=1) < TOP
    else:
        hits = np.ones(len(truth), bool)
    top5 = np.bincount(sample, hits, minlength=samples)
    return Counts(confusion.astype(np.float64), calibration.astype(np.float64), top5.astype(np.float64))
