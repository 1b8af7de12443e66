"""What a person is told of the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagewright.reproduce.compare import (
    MetricComparison,
    StageComparison,
    compare_environments,
    compare_metrics,
    compare_stages,
)
from imagewright.reproduce.facts import Facts


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        reproduced: whether all is the same, or differs only as another environment lets expect.
        lines: one a stage, one for each difference of the environment, and one a metric where these were compared.
        answer: all of it in one line.
    """

    reproduced: bool
    lines: list[str]
    answer: str


def judge(recorded: Facts, rebuilt: Facts, changed: Sequence[str] = ()) -> Verdict:
    """Compare two builds and say what follows.

    Bits may rightly differ where the environment does; then metrics count. Images and splits never do.

    Args:
        recorded: the facts in `results/`.
        rebuilt: the facts of the second build.
        changed: whether config or code has changed since, as `changes` says.
    """
    stages, environment = compare_stages(recorded, rebuilt), compare_environments(recorded, rebuilt)
    lines = [f"{stage.stage:<9} {_state(stage)}" for stage in stages]
    lines += [f"environment: {name}: {then} -> {now}" for name, (then, now) in environment.items()]
    name = recorded.section.experiment
    first = next((stage for stage in stages if not stage.same), None)
    if first is None:
        return Verdict(True, lines, f"{name}: identical")
    since = f"; {' and '.join(changed)} since it was recorded" if changed else ""
    if first.stage == "bundle" and first.differences == ["environment"] and environment:
        return Verdict(True, lines, f"{name}: every result is the same; only the environment is another")
    if not environment or not stages[0].same or not all(stage.built for stage in stages):
        found = f"first difference at {first.stage}: {', '.join(first.differences)}"
        if not first.built:
            found = f"the same as far as it was built; {first.stage} was not"
        return Verdict(False, lines, f"{name}: {found}{since}")
    metrics = compare_metrics(recorded, rebuilt)
    lines += [_told(metric) for metric in metrics if metric.whole or not metric.within]
    # Of many classes some are always outside: they are named, and the whole split decides.
    outside = [metric.name for metric in metrics if metric.whole and not metric.within]
    if recorded.runtime and not rebuilt.stages["gate"].get(recorded.runtime, {}).get("passed"):
        outside.append(f"{recorded.runtime} (the gate leaves it out)")
    answer = f"{name}: not identical (first difference at {first.stage}), "
    if outside:
        return Verdict(False, lines, f"{answer}and outside of what was recorded: {', '.join(outside)}{since}")
    answer += "as expected of another environment; every metric of the whole split lies within its interval"
    return Verdict(True, lines, answer + since)


def _state(stage: StageComparison) -> str:
    if not stage.built:
        return "not built"
    return "same" if stage.same else f"differs: {', '.join(stage.differences)}"


def _told(metric: MetricComparison) -> str:
    then, now = (_with_interval(values) for values in (metric.recorded, metric.rebuilt))
    return f"{metric.name}: {then} -> {now}: {'within' if metric.within else 'outside'}"


def _with_interval(values: Mapping[str, float | None]) -> str:
    value, low, high = (_number(values.get(key)) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
