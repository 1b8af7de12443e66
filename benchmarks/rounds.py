"""Time contenders side by side: they take turns in every round, so that a busy moment hits them alike."""

import csv
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
from scipy import stats

MEASUREMENTS = Path(__file__).parents[1] / "docs/measurements"
CONFIDENCE = 0.95


def take_turns(contenders: Mapping[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, list[float]]:
    """Median seconds of a call for each contender and round.

    Args:
        contenders: what to call.
        rounds: each contender has its turn in each of them.
        calls: in a turn; the first tenth warms up and is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, call in contenders.items():
            times = []
            for _ in range(calls):
                started = time.perf_counter()
                call()
                times.append(time.perf_counter() - started)
            seconds[name].append(median(times[calls // 10 :]))
            print(f"round {number + 1}/{rounds}: {name} {seconds[name][-1] * 1000:.2f} ms")
    return seconds


def write_ratios(name: str, title: str, seconds: dict[str, list[float]], against: str, notes: str) -> dict[str, float]:
    """Write `docs/measurements/<name>.{csv,md}`: how many times as fast as `against` each contender was, by round.

    Returns:
        The median ratio of each contender.
    """
    MEASUREMENTS.mkdir(parents=True, exist_ok=True)
    with (MEASUREMENTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["round", *seconds])
        for number, values in enumerate(zip(*seconds.values(), strict=True), 1):
            writer.writerow([number, *(f"{value:.6f}" for value in values)])
    lines = [f"# {title}", "", notes, "", f"| | median ms | times as fast as {against} | lowest and highest round |"]
    lines.append("|---|---:|---:|---:|")
    ratios = {}
    for contender, values in seconds.items():
        by_round = [base / value for base, value in zip(seconds[against], values, strict=True)]
        ratios[contender] = median(by_round)
        lines.append(
            f"| {contender} | {median(values) * 1000:.2f} | {ratios[contender]:.2f} | "
            f"{min(by_round):.2f} to {max(by_round):.2f} |"
        )
    (MEASUREMENTS / f"{name}.md").write_text(
        "\n".join([*lines, "", f"Seconds by round: [{name}.csv]({name}.csv).", ""])
    )
    print("\n".join(lines))
    return ratios


def ratio(ours: list[float], theirs: list[float]) -> str:
    """The mean of the rounds' ratios and its 95 % interval: Student's, of their logarithms."""
    logs = np.log(np.array(ours) / np.array(theirs))
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1) * stats.sem(logs)
    mean, low, high = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"
