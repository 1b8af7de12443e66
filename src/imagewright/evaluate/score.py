"""Score the test split: metrics with intervals beside a baseline, every prediction, and pictures."""

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from imagewright.config.evaluate import EvaluateConfig
from imagewright.errors import DataError, EvidenceError
from imagewright.evaluate import pictures
from imagewright.files import read_json, write_json
from imagewright.metrics.counts import Counts, count_samples
from imagewright.metrics.scores import SUMMARY, constant_prediction, f1_by_class, scores
from imagewright.models.network import load_predictor
from imagewright.models.predict import predict_batches
from imagewright.statistics.bootstrap import score_with_intervals
from imagewright.tensors.dataset import TensorSplit, read_meta
from imagewright.tracking import Sample, Tracker


def evaluate_model(
    config: EvaluateConfig,
    selected: Path,
    tensors: Path,
    index: Path,
    out: Path,
    tracker: Tracker | None = None,
    samples: int = 0,
) -> None:
    """Write `metrics.json`, `predictions.parquet` and three pictures.

    Args:
        config: resampling and pictures.
        selected: what `select` wrote.
        tensors: what `tensors` wrote.
        index: what `index` wrote; gives each test image's name and group.
        out: the folder to write to.
        tracker: told of the metrics, the pictures and some predictions.
        samples: how many predictions it is told of.

    Raises:
        EvidenceError: the model has seen the test split, or names its outputs in another order than the tensors do, or
            these in another than the index.
        DataError: a metric is undefined on the test split.
    """
    torch.set_num_threads(config.threads)
    selection, meta = read_json(selected / "selection.json"), read_meta(tensors)
    test = TensorSplit(tensors, "test")
    check_unseen(selection, test.sha256)
    check_same_classes(selection["classes"], meta["classes"])
    rows = pd.read_parquet(index / "index.parquet").query("split == 'test'").reset_index(drop=True)
    task, classes, ignore = meta["task"], meta["classes"], meta["ignore"]
    if task == "classification":
        check_same_labels(rows, test.targets, classes)

    probabilities, counts, worst = _predict(load_predictor(selected), test, config, task)
    metrics: dict[str, Any] = score_with_intervals(
        counts, rows["group"].tolist(), task, classes, ignore,
        resamples=config.resamples, confidence=config.confidence, seed=config.seed,
    )  # fmt: skip
    metrics["baseline"] = baseline(counts, meta)
    metrics |= {"n": len(test), "groups": int(rows["group"].nunique()), "split": "test"}
    write_json(out / "metrics.json", metrics)
    _predictions(rows, counts, probabilities, meta).to_parquet(out / "predictions.parquet", index=False)

    shown = [meta["names"].get(name, name) for name in classes]
    pictures.draw_confusion(counts.total().confusion[0], shown, out / "confusion.png")
    pictures.draw_calibration(counts.total().calibration[0], out / "calibration.png")
    if task == "classification":
        pictures.draw_mistakes(test, probabilities, shown, config.pictures, out / "examples.png")
    else:
        pictures.draw_overlays(test, rows, worst, shown, f1_by_class(counts.confusion), out / "examples.png")
    if tracker:
        tracker.summary({name: metrics[name]["value"] for name in SUMMARY[task]})
        for path in sorted(out.glob("*.png")):
            tracker.picture(path.stem, path)
        positions = list(worst) if worst else range(len(test))
        tracker.examples("test", _samples(test, rows, counts, probabilities, worst, shown, positions[:samples]), shown)


def _samples(
    test: TensorSplit,
    rows: pd.DataFrame,
    counts: Counts,
    probabilities: NDArray[np.float32],
    masks: dict[int, NDArray[np.uint8]],
    classes: list[str],
    positions: Sequence[int],
) -> Iterator[Sample]:
    """Predictions beside the truth: of images by class and confidence, of masks by their mean Dice."""
    for position in positions:
        name, image, target = rows["id"][position], np.array(test.images[position]), test.targets[position]
        if masks:
            dice = f1_by_class(counts[[position]].confusion)[0]
            yield Sample(name, image, np.array(target), masks[position], float(np.nanmean(dice)))
        else:
            row = probabilities[position]
            yield Sample(name, image, classes[target], classes[int(row.argmax())], float(row.max()))


def check_unseen(selection: dict[str, Any], test_sha256: str) -> None:
    """Stop if the model was trained or tuned on the very split that is to judge it.

    Raises:
        EvidenceError: it was.
    """
    if served_as := [use for use, seen in selection["seen"].items() if seen == test_sha256]:
        raise EvidenceError(
            f"evaluate: the selected model has seen the test split: it served as {' and '.join(served_as)}",
            "train again with three splits of their own: what is tuned on test says nothing about new images",
        )


def check_same_classes(of_model: Sequence[str], of_tensors: Sequence[str]) -> None:
    """Stop if the model names its outputs in another order than the tensors name their targets.

    Raises:
        EvidenceError: it does.
    """
    for position, (name, other) in enumerate(zip_longest(of_model, of_tensors)):
        if name != other:
            raise EvidenceError(
                f"evaluate: output {position} of the model is {name!r}, but {other!r} in the tensors",
                "train again on these tensors: delete results/train/ and results/select/ of this experiment",
            )


def check_same_labels(rows: pd.DataFrame, targets: NDArray[np.integer], classes: Sequence[str]) -> None:
    """Stop if the stored targets, by the names of the classes, are not the labels in the index.

    Raises:
        EvidenceError: they are not.
    """
    for path, label, target in zip(rows["path"], rows["label"], targets, strict=True):
        if label != (stored := classes[target]):
            raise EvidenceError(
                f"evaluate: {path} is {label!r} in the index, but {stored!r} in the tensors",
                "the order of the rows or of the classes changed between the two: delete results/tensors/ of this data",
            )


def baseline(counts: Counts, meta: dict[str, Any]) -> dict[str, Any]:
    """What a model scores that knows only which class is the most frequent in train.

    For masks it is the first class, which counts as background; but one that is ignored is never right.

    Raises:
        DataError: one of the metrics is undefined, so that nothing could be compared with it.
    """
    classes, frequent = meta["classes"], meta["splits"]["train"]["targets"]
    if meta["task"] == "segmentation" and classes[0] not in meta["ignore"]:
        position = 0
    else:
        position = max(range(len(classes)), key=lambda index: frequent[classes[index]])
    confusion = constant_prediction(counts.total().confusion, position)
    constant = Counts(confusion, counts.total().calibration, counts.total().top5)
    computed = scores(constant, meta["task"], classes, meta["ignore"])
    values = {name: round(float(computed[name][0]), 6) for name in SUMMARY[meta["task"]]}
    if undefined := [name for name, value in values.items() if math.isnan(value)]:
        raise DataError(
            f"evaluate: {undefined[0]} is undefined on the test split: it holds nothing of the classes that it counts",
            "add test images of them, take a larger size in config/tensors/, or ignore fewer classes in config/data/",
        )
    return {"class": classes[position], **values}


def _predict(
    predictor: torch.nn.Module, test: TensorSplit, config: EvaluateConfig, task: str
) -> tuple[NDArray[np.float32], Counts, dict[int, NDArray[np.uint8]]]:
    """One pass over test.

    Returns:
        N × C probabilities (classification; empty for segmentation), the counts, and the predicted masks of the
        images with the most wrong pixels (segmentation), by position.
    """
    kept, counts = [], []
    wrong: dict[int, float] = {}
    masks: dict[int, NDArray[np.uint8]] = {}
    for part, output in predict_batches(predictor, test.images, config.batch_size, "evaluate"):
        counts.append(count_samples(output, test.targets[part]))
        if task == "classification":
            kept.append(output)
            continue
        wrong |= dict(enumerate(_wrong(counts[-1].confusion).tolist(), part.start))
        masks |= dict(enumerate(output.argmax(axis=-1).astype(np.uint8), part.start))
        masks = {position: masks[position] for position in sorted(masks, key=lambda p: -wrong[p])[: config.pictures]}
    return np.concatenate(kept) if kept else np.empty((0, 0), np.float32), Counts.concatenate(counts), masks


def _wrong(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    return confusion.sum(axis=(1, 2)) - np.trace(confusion, axis1=1, axis2=2)  # type: ignore[no-any-return]


def _predictions(
    rows: pd.DataFrame, counts: Counts, probabilities: NDArray[np.float32], meta: dict[str, Any]
) -> pd.DataFrame:
    """A row a test image: its class, the decision and every probability; or its Dice and its pixels, class by class."""
    classes = meta["classes"]
    table = rows[["id", "path", "group"]].copy()
    if meta["task"] == "classification":
        decided = probabilities.argmax(axis=1)
        table["label"] = rows["label"]
        table["predicted"] = [classes[position] for position in decided]
        table["confidence"] = probabilities.max(axis=1)
        columns = {f"p/{name}": probabilities[:, position] for position, name in enumerate(classes)}
        return pd.concat([table, pd.DataFrame(columns)], axis=1)
    by_class = f1_by_class(counts.confusion)
    for position, name in enumerate(classes):
        if name not in meta["ignore"]:
            table[f"dice/{name}"] = by_class[:, position]
            table[f"pixels/{name}"] = counts.confusion[:, position].sum(axis=1).astype(np.int64)
            table[f"predicted/{name}"] = counts.confusion[:, :, position].sum(axis=1).astype(np.int64)
    return table
