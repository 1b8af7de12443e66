"""Compare, judge and write the verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imagewright.config.gate import GateConfig, GateSection, RuntimeLimits
from imagewright.engines import OPENVINO
from imagewright.errors import EvidenceError, GateError
from imagewright.files import read_json, sha256, write_json
from imagewright.gate.compare import REFERENCE, Comparison, compare_runtimes
from imagewright.gate.live import LiveComparison, compare_live, live_server
from imagewright.gate.runtimes import open_runtimes
from imagewright.index.readers import open_reader
from imagewright.metrics.scores import PRIMARY
from imagewright.models.precision import undecided
from imagewright.statistics.bootstrap import score_with_intervals
from imagewright.tensors.dataset import TensorSplit, read_meta

LIVE = "http"
SAME = 1e-3
"""How far PyTorch's probabilities here may be from `predictions.parquet`: another device or batch, nothing more."""


def judge_export(
    section: GateSection,
    selected: Path,
    exported: Path,
    tensors: Path,
    raw: Path,
    index: Path,
    evaluated: Path,
    out: Path,
    evidence: Path,
) -> None:
    """Run the test split through every runtime and over HTTP, write `gate.json`, and stop if a limit is broken.

    Args:
        section: limits, and how intervals are made.
        selected: what `select` wrote.
        exported: what `export` wrote.
        tensors: what `tensors` wrote.
        raw: `data/raw/<data>`, whose original files are sent.
        index: what `index` wrote.
        evaluated: what `evaluate` wrote.
        out: the folder to write to.
        evidence: where `gate.json` goes if the verdict is no.

    Raises:
        GateError: the verdict is no.
        EvidenceError: the exported files are not those that were exported, or INT8 was not calibrated on train.
    """
    files = hash_judged(selected, exported, evaluated)
    limits, meta = section.gate, read_meta(tensors)
    task, classes, ignore = meta["task"], meta["classes"], meta["ignore"]
    test = TensorSplit(tensors, "test")
    predictions = pd.read_parquet(evaluated / "predictions.parquet")
    evaluation = read_json(evaluated / "metrics.json")
    check_calibrated_on_train(read_json(exported / "export.json"), meta)
    judged = [name for name in ("onnx", "int8", OPENVINO) if getattr(limits, name)]
    runtimes = open_runtimes(selected, exported, limits.threads, judged)
    found, probabilities = compare_runtimes(runtimes, test, limits.batch_size, limits.latency_runs)

    primary = PRIMARY[task]
    entries: dict[str, Any] = {}
    for name, comparison in found.items():
        metrics = score_with_intervals(
            comparison.counts, predictions["group"].tolist(), task, classes, ignore,
            resamples=section.evaluate.resamples, confidence=section.evaluate.confidence, seed=section.evaluate.seed,
        )  # fmt: skip
        entries[name] = {
            "metric": metrics[primary]["value"],
            "flips": comparison.flips,
            "decisions": comparison.decisions,
            "max_abs_diff": comparison.max_abs_diff,
            "p50_ms": round(comparison.p50_ms, 3),
            "metrics": metrics,
        }
    broken = {name: runtime_reasons(name, entries, limits) for name in entries}
    reasons = model_reasons(found[REFERENCE], evaluation, primary, classes, limits)
    reasons += same_as_evaluated(predictions, probabilities, entries, evaluation, primary, classes)
    reasons += [reason for name in entries if _limits_of(name, limits).required for reason in broken[name]]
    # A server need not have OpenVINO.
    passing = [name for name in entries if name not in (REFERENCE, OPENVINO) and not broken[name]]
    for name, entry in entries.items():
        entry["passed"] = not broken[name]
    default = min(passing, key=lambda name: entries[name]["p50_ms"]) if passing else None
    if default:
        rows = pd.read_parquet(index / "index.parquet")
        paths = rows[rows["split"] == "test"]["path"].tolist()
        reader = open_reader(section.layout, raw, section.max_pixels)
        with live_server(exported, default, limits.threads) as url:
            live = compare_live(url, task, classes, reader, paths, test, runtimes[default])
        against = live_reasons(live, default, entries[default], predictions, classes, limits)
        metric = score_with_intervals(
            live.counts, predictions["group"].tolist(), task, classes, ignore,
            resamples=1, confidence=section.evaluate.confidence, seed=section.evaluate.seed,
        )[primary]["value"]  # fmt: skip
        entries[LIVE] = {
            "metric": metric,
            "runtime": default,
            "flips": live.flips,
            "decisions": live.decisions,
            "max_abs_diff": live.max_abs_diff,
            "p50_ms": round(live.p50_ms, 3),
            "passed": not against,
        }
        reasons += against
    verdict = {
        "primary_metric": primary,
        "runtimes": entries,
        "default_runtime": default,
        "passed": not reasons and bool(passing),
        "reasons": reasons or ([] if passing else ["no runtime is within its limits"]),
        "left_out": {name: why for name, why in broken.items() if why},
        "baseline": evaluation["baseline"],
        "n": len(test),
        "files": files,
    }
    if not verdict["passed"]:
        evidence.mkdir(parents=True, exist_ok=True)
        write_json(evidence / "gate.json", verdict)
        shown = "; ".join(verdict["reasons"][:3])
        raise GateError(
            f"the gate says no: {shown}",
            f"all numbers are in {evidence / 'gate.json'}; improve the model, or change the limit in config/gate/",
        )
    write_json(out / "gate.json", verdict)


def hash_judged(selected: Path, exported: Path, evaluated: Path) -> dict[str, str]:
    """SHA-256 of each file that the verdict is about, by stage and name; `bundle` takes no other.

    Raises:
        EvidenceError: an exported file has another hash than `export.json` says.
    """
    recorded = read_json(exported / "export.json")["sha256"]
    judged = {
        "select": [selected / name for name in ("model.safetensors", "selection.json")],
        "export": [exported / name for name in ("export.json", *recorded)],
        "evaluate": [evaluated / name for name in ("metrics.json", "predictions.parquet")],
    }
    found = {f"{stage}/{path.name}": sha256(path) for stage, paths in judged.items() for path in paths}
    for name, digest in recorded.items():
        if found[f"export/{name}"] != digest:
            raise EvidenceError(
                f"{exported / name}: this is not the file that was exported", "delete it and run snakemake again"
            )
    return found


def check_calibrated_on_train(export: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Stop if the ranges of INT8 were measured on anything but the train split.

    Raises:
        EvidenceError: they were.
    """
    if export["int8"]["seen"] != meta["splits"]["train"]["sha256"]:
        raise EvidenceError(
            "gate: the INT8 ranges were not measured on the train split",
            "calibrate on train images alone, then export again: delete results/export/ of this experiment",
        )


def runtime_reasons(name: str, entries: Mapping[str, Any], limits: GateConfig) -> list[str]:
    """Each limit that a runtime breaks, beside what was measured."""
    if name == REFERENCE:
        return []
    entry, limit = entries[name], _limits_of(name, limits)
    flips = entry["flips"] / max(entry["decisions"], 1)
    drop = (entries[REFERENCE]["metric"] or 0.0) - (entry["metric"] or 0.0)
    measured = (
        ("max_flips", flips, limit.max_flips, "share of decisions that differ from PyTorch"),
        ("max_abs_diff", entry["max_abs_diff"], limit.max_abs_diff, "largest difference of a probability"),
        ("max_metric_drop", drop, limit.max_metric_drop, "loss of the main metric"),
    )
    return [
        f"{name}: {what} is {value:.4g}, over gate.{name}.{key} ({most:g})"
        for key, value, most, what in measured
        if not value <= most
    ]


def live_reasons(
    live: LiveComparison,
    runtime: str,
    entry: Mapping[str, Any],
    predictions: pd.DataFrame,
    classes: Sequence[str],
    limits: GateConfig,
) -> list[str]:
    """What speaks against the server: that it does not answer what its file answers, or what was evaluated."""
    flips = live.flips / max(live.decisions, 1)
    measured = [
        ("max_flips", flips, limits.http.max_flips, f"share of decisions that differ from {runtime} without HTTP"),
    ]
    if live.max_abs_diff is not None:
        most = limits.http.max_abs_diff
        measured.append(("max_abs_diff", live.max_abs_diff, most, "largest difference of a probability"))
        written = predictions[[f"p/{name}" for name in classes]].to_numpy()
        furthest = float(np.abs(written - live.probabilities).max())
        # As far as the runtime itself is from PyTorch, and no further.
        measured.append(
            (
                "max_abs_diff",
                furthest - entry["max_abs_diff"],
                most,
                "difference from predictions.parquet beyond that of its file",
            )
        )
    return [
        f"http: {what} is {value:.4g}, over gate.http.{key} ({most:g})"
        for key, value, most, what in measured
        if not value <= most
    ]


def model_reasons(
    reference: Comparison,
    evaluation: Mapping[str, Any],
    primary: str,
    classes: Sequence[str],
    limits: GateConfig,
) -> list[str]:
    """What speaks against the model itself: no better than the baseline, collapsed, or under the asked-for metric."""
    reasons = []
    value, baseline = evaluation[primary]["value"] or 0.0, evaluation["baseline"]
    if value <= baseline[primary]:
        reasons.append(
            f"{primary} {value:.4f} is no better than always saying {baseline['class']!r} ({baseline[primary]:.4f})"
        )
    if limits.min_metric is not None and value < limits.min_metric:
        reasons.append(f"{primary} {value:.4f} is under gate.min_metric ({limits.min_metric:g})")
    confusion = reference.counts.total().confusion[0]
    predicted, true = confusion.sum(axis=0) / confusion.sum(), confusion.sum(axis=1) / confusion.sum()
    most = int(predicted.argmax())
    if predicted[most] >= 1:
        reasons.append(f"the model collapsed: every decision is {classes[most]!r}")
    elif (excess := (predicted - true).max()) > limits.max_class_excess:
        name = classes[int((predicted - true).argmax())]
        reasons.append(
            f"{name!r} is predicted {excess:.1%} more often than it occurs, over gate.max_class_excess "
            f"({limits.max_class_excess:g})"
        )
    return reasons


def same_as_evaluated(
    predictions: pd.DataFrame,
    probabilities: NDArray[np.float32],
    entries: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    primary: str,
    classes: Sequence[str],
) -> list[str]:
    """Whether PyTorch answers here what `evaluate` wrote down, but for decisions that another device may turn."""
    close = 0.0
    if probabilities.size:
        written = predictions[[f"p/{name}" for name in classes]].to_numpy()
        furthest = float(np.abs(written - probabilities).max())
        if not furthest <= SAME:
            return [f"PyTorch's probabilities differ by up to {furthest:.2g} from predictions.parquet"]
        close = undecided(probabilities) / len(probabilities)
    here, there = entries[REFERENCE]["metric"], evaluation[primary]["value"]
    if not abs((here or 0.0) - (there or 0.0)) <= SAME + close:
        return [f"PyTorch gives {primary} {here:.4f} here, but metrics.json says {there:.4f}"]
    return []


def _limits_of(name: str, limits: GateConfig) -> RuntimeLimits:
    if name == REFERENCE:
        return RuntimeLimits(required=True, max_flips=0, max_abs_diff=0, max_metric_drop=0)
    found: RuntimeLimits = getattr(limits, name)
    return found
