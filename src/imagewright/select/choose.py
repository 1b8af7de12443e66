"""Choose among trials, check the winner's record, calibrate it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from imagewright.config.select import SelectSection
from imagewright.errors import EvidenceError
from imagewright.files import read_json, write_json
from imagewright.metrics.counts import Counts, count_samples, counted
from imagewright.metrics.scores import scores
from imagewright.models.build import ModelSpec
from imagewright.models.network import load_network
from imagewright.models.precision import undecided
from imagewright.models.predict import predict_batches
from imagewright.select.trials import check_distinct
from imagewright.statistics.temperature import fit_temperature
from imagewright.tensors.dataset import TensorSplit, read_meta

TOLERANCE = 1e-3
"""How far a fresh measurement may be from the recorded one, where no decision is so close that it may turn."""

CALIBRATION_PIXELS = 2_000
"""Decisions of one image that the temperature is fitted on: neighbouring pixels say the same thing."""

TRAVELS = ("task", "classes", "names", "ignore", "input", "max_pixels", "model", "normalisation", "pretrained")
"""What goes with the weights, so that every later stage needs no more than `select`'s folder."""


def select_trial(section: SelectSection, trials: Path, tensors: Path, out: Path) -> None:
    """Write the best trial's `model.safetensors`, and `selection.json`.

    Args:
        section: the trials' names and the metric that ranks them.
        trials: `results/train/<experiment>`.
        tensors: what `tensors` wrote.
        out: the folder to write to.

    Raises:
        EvidenceError: a trial was not validated on val, two trials are one and the same, or a recorded metric is not
            what its weights give.
    """
    torch.set_num_threads(section.threads)
    records = {name: read_json(trials / name / "trial.json") for name in section.trials}
    val_sha256 = read_meta(tensors)["splits"]["val"]["sha256"]
    for name, record in records.items():
        if record["seen"]["val"] != val_sha256:
            raise EvidenceError(
                f"select: trial {name!r} was not validated on this val split",
                "train it again: delete its folder in results/train/ and run snakemake",
            )
    check_distinct(records, section.trials)
    # The first of equals wins, so the order of the trials decides and nothing else.
    best = max(section.trials, key=lambda name: records[name]["best"]["value"])
    record = records[best]
    val = TensorSplit(tensors, "val")
    logits, targets, counts, close = _predict_val(trials / best, record, val, section.batch_size)
    measured = float(scores(counts.total(), record["task"], record["classes"], record["ignore"])[section.monitor][0])
    check_recorded_metric(trials / best, record, section.monitor, measured, close)
    shutil.copyfile(trials / best / "model.safetensors", out / "model.safetensors")
    write_json(
        out / "selection.json",
        {
            **{key: record[key] for key in TRAVELS},
            "trial": best,
            # Hashes of the files that were open, the last of them just now: `evaluate` compares them with test.
            "seen": {**record["seen"], "calibration": val.sha256},
            "monitor": section.monitor,
            "value": measured,
            "temperature": fit_temperature(logits, targets),
            "trials": [
                {"trial": name, "values": values, **records[name]["best"]} for name, values in section.trials.items()
            ],
        },
    )


def check_recorded_metric(trial: Path, record: dict[str, Any], monitor: str, measured: float, close: float) -> None:
    """Stop if the curve says another value than the weights give, as it does when a metric carries state over.

    Args:
        trial: the trial's folder, with `history.csv`.
        record: its `trial.json`.
        monitor: the metric that ranks trials.
        measured: what a fresh pass over val gave.
        close: share of the decisions that another device may turn.

    Raises:
        EvidenceError: the two differ by more than `TOLERANCE`, and than the close decisions explain.
    """
    history = pd.read_csv(trial / "history.csv").set_index("epoch")
    epoch = record["best"]["epoch"]
    for where, recorded in (
        ("history.csv", float(history.loc[epoch, f"val/{monitor}"])),
        ("trial.json", float(record["best"]["value"])),
    ):
        # A decision that turns counts for two classes.
        if not abs(recorded - measured) <= TOLERANCE + 2 * close:
            raise EvidenceError(
                f"select: {trial / where} says val {monitor} {recorded:.4f} for epoch {epoch}, "
                f"but a fresh pass over val gives {measured:.4f}",
                "the metric carries something over from another epoch or split: reset it when an epoch starts",
            )


def _predict_val(
    trial: Path, record: dict[str, Any], val: TensorSplit, batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.integer], Counts, float]:
    """Logits and targets to calibrate on, N × C and N; the counts of every decision; and the share of close ones."""
    network = load_network(ModelSpec(**record["model"]), trial / "model.safetensors")
    logits, targets, counts = [], [], []
    close = decisions = 0
    for part, output in predict_batches(network, val.images, batch_size, "select"):
        by_decision, truth = np.moveaxis(output, 1, -1), val.targets[part]
        probabilities = softmax(by_decision, axis=-1)
        counts.append(count_samples(probabilities, truth))
        close, decisions = close + undecided(probabilities), decisions + truth.size
        by_image, truth_by_image = by_decision.reshape(len(truth), -1, output.shape[1]), truth.reshape(len(truth), -1)
        shown_by_image = counted(truth).reshape(len(truth), -1)
        step = max(1, by_image.shape[1] // CALIBRATION_PIXELS)
        shown = shown_by_image[:, ::step]
        logits.append(by_image[:, ::step][shown])
        targets.append(truth_by_image[:, ::step][shown])
    return np.concatenate(logits), np.concatenate(targets), Counts.concatenate(counts), close / decisions
