"""Metrics from counts; every function takes any number of rows at once, one a resample.

A ratio without a denominator (a class that neither occurs nor is predicted) is NaN and left out of means.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagewright.metrics.counts import TOP, Counts

Values = NDArray[np.float64]
PRIMARY = {"classification": "accuracy", "segmentation": "dice"}
"""The metric that the gate and the report speak of first."""
SUMMARY = {"classification": ("accuracy", "macro_f1"), "segmentation": ("accuracy", "dice", "miou")}
"""The metrics of a whole split that make sense for every epoch and for the baseline."""


def scores(counts: Counts, task: str, classes: Sequence[str], ignore: Sequence[str] = ()) -> dict[str, Values]:
    """All metrics of a task.

    Args:
        counts: R rows.
        task: classification or segmentation.
        classes: names, in the order of the counts.
        ignore: classes that are never true and are left out of means.

    Returns:
        R values a metric. Classification: accuracy, macro_f1, ece, top5_accuracy (with more than five classes), and
        f1/<class>. Segmentation: dice (mean over classes but the first), miou, accuracy (of pixels), ece, and
        dice/<class> and iou/<class>; both from pixels summed over all images, not averaged image by image.
    """
    shown = [position for position, name in enumerate(classes) if name not in ignore]
    confusion = counts.confusion
    f1, iou = f1_by_class(confusion), iou_by_class(confusion)
    result = {"accuracy": accuracy(confusion), "ece": expected_calibration_error(counts.calibration)}
    if task == "classification":
        result["macro_f1"] = _mean(f1[:, shown])
        if len(classes) > TOP:
            result["top5_accuracy"] = _ratio(counts.top5, confusion.sum(axis=(1, 2)))
        result |= {f"f1/{classes[position]}": f1[:, position] for position in shown}
    else:
        result["dice"] = _mean(f1[:, [position for position in shown if position > 0]])
        result["miou"] = _mean(iou[:, shown])
        result |= {f"dice/{classes[position]}": f1[:, position] for position in shown}
        result |= {f"iou/{classes[position]}": iou[:, position] for position in shown}
    return result


def accuracy(confusion: Values) -> Values:
    """Share of right decisions. R × C × C → R."""
    return _ratio(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))


def f1_by_class(confusion: Values) -> Values:
    """F1 of each class, which for pixels is the Dice coefficient (Dice 1945): 2 TP / (2 TP + FP + FN). R × C."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    return _ratio(2 * hits, confusion.sum(axis=1) + confusion.sum(axis=2))


def iou_by_class(confusion: Values) -> Values:
    """Intersection over union of each class (Jaccard 1912): TP / (TP + FP + FN). R × C."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    return _ratio(hits, confusion.sum(axis=1) + confusion.sum(axis=2) - hits)


def expected_calibration_error(calibration: Values) -> Values:
    """Mean gap between confidence and accuracy, weighted by bin (Naeini et al. 2015; Guo et al. 2017, equation 3). R.

    A perfectly calibrated model shows more than zero on few images: near 0.008 at 98 % accuracy on 1,000.
    """
    gaps = np.abs(calibration[..., 1] - calibration[..., 2]).sum(axis=1)
    return _ratio(gaps, calibration[..., 0].sum(axis=1))


def constant_prediction(confusion: Values, position: int) -> Values:
    """The confusion matrix of a model that always decides for one class. R × C × C."""
    result = np.zeros_like(confusion)
    result[:, :, position] = confusion.sum(axis=2)
    return result


def _ratio(numerator: Values, denominator: Values) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _mean(values: Values) -> Values:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, and that is meant
        mean: Values = np.nanmean(values, axis=1)
        return mean
