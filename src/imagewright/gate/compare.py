"""Send the same pictures through every runtime and compare what comes back."""

import time
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from imagewright.engines import Engine
from imagewright.metrics.counts import Counts, count_samples, counted
from imagewright.tensors.dataset import TensorSplit

REFERENCE = "torch"
WARM_UP = 5


@dataclass(frozen=True)
class Comparison:
    """One runtime beside PyTorch, over the whole split.

    Attributes:
        counts: a row a picture.
        decisions: images, or pixels that count.
        flips: decisions that differ from PyTorch's.
        max_abs_diff: largest difference of any probability.
        p50_ms: median time of a single picture.
    """

    counts: Counts
    decisions: int
    flips: int
    max_abs_diff: float
    p50_ms: float


def compare_runtimes(
    runtimes: dict[str, Engine], test: TensorSplit, batch_size: int, latency_runs: int
) -> tuple[dict[str, Comparison], NDArray[np.float32]]:
    """Run the whole split through each runtime.

    Args:
        runtimes: with `torch` among them.
        test: the split.
        batch_size: pictures a step.
        latency_runs: single pictures to time.

    Returns:
        A comparison for each runtime; and PyTorch's probabilities, N × C (classification; empty for masks).
    """
    counts: dict[str, list[Counts]] = {name: [] for name in runtimes}
    flips = dict.fromkeys(runtimes, 0)
    furthest = dict.fromkeys(runtimes, 0.0)
    kept, decisions = [], 0
    for start in tqdm(range(0, len(test), batch_size), desc="gate", unit="batch", disable=None):
        images = np.array(test.images[start : start + batch_size])
        targets = np.asarray(test.targets[start : start + batch_size])
        shown = counted(targets)
        decisions += int(shown.sum())
        reference = runtimes[REFERENCE](images)
        if targets.ndim == 1:
            kept.append(reference)
        for name, runtime in runtimes.items():
            answer = reference if name == REFERENCE else runtime(images)
            counts[name].append(count_samples(answer, targets))
            flips[name] += int(((answer.argmax(-1) != reference.argmax(-1)) & shown).sum())
            furthest[name] = max(furthest[name], float(np.abs(answer - reference)[shown].max(initial=0.0)))
    latency = _median_latency(runtimes, test, latency_runs)
    comparisons = {
        name: Comparison(Counts.concatenate(counts[name]), decisions, flips[name], furthest[name], latency[name])
        for name in runtimes
    }
    return comparisons, np.concatenate(kept) if kept else np.empty((0, 0), np.float32)


def _median_latency(runtimes: dict[str, Engine], test: TensorSplit, runs: int) -> dict[str, float]:
    """Median milliseconds of one picture; the runtimes take turns, so that a busy moment hits them alike."""
    pictures = [np.array(test.images[[position % len(test)]]) for position in range(runs)]
    for runtime in runtimes.values():
        for picture in pictures[:WARM_UP]:
            runtime(picture)
    times: dict[str, list[float]] = {name: [] for name in runtimes}
    for picture in pictures:
        for name, runtime in runtimes.items():
            started = time.perf_counter()
            runtime(picture)
            times[name].append((time.perf_counter() - started) * 1000)
    return {name: median(values) for name, values in times.items()}
