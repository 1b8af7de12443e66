"""Compare two builds of an experiment: their facts, their environments, and their metrics where bits may differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagewright.reproduce.facts import READERS, Facts, StageFacts

SHOWN = 3
ABSENT = object()


@dataclass(frozen=True)
class StageComparison:
    """What came out of one stage beside what is recorded.

    Attributes:
        stage: its word.
        built: whether it was built at all.
        differences: what is not the same, in words.
    """

    stage: str
    built: bool
    differences: list[str]

    @property
    def same(self) -> bool:
        """Whether everything is as recorded."""
        return self.built and not self.differences


@dataclass(frozen=True)
class MetricComparison:
    """A metric beside the recorded one.

    Attributes:
        name: the metric, and the runtime where it is not PyTorch.
        recorded: value, low and high.
        rebuilt: the same, of the second build.
        within: whether it lies within the recorded interval.
    """

    name: str
    recorded: Mapping[str, float | None]
    rebuilt: Mapping[str, float | None]
    within: bool

    @property
    def whole(self) -> bool:
        """Whether it is of the whole split, not of a single class."""
        return "/" not in self.name


def compare_stages(recorded: Facts, rebuilt: Facts) -> list[StageComparison]:
    """Every stage, in the workflow's order."""
    found = []
    for stage in READERS:
        built = stage in rebuilt.stages
        told = list(differences(recorded.stages[stage], rebuilt.stages[stage])) if built else []
        found.append(StageComparison(stage, built, told))
    return found


def differences(recorded: StageFacts, rebuilt: StageFacts) -> Iterator[str]:
    """What differs between the facts of a stage, each by its name, with the first few keys where it has some."""
    for name in differing(recorded, rebuilt):
        if name not in rebuilt:
            yield f"{name} is recorded only"
        elif name not in recorded:
            yield f"{name} is new"
        elif isinstance(recorded[name], dict) and isinstance(rebuilt[name], dict):
            yield f"{name} ({listed(differing(recorded[name], rebuilt[name]))})"
        else:
            yield name


def differing(recorded: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, or that only one has, in order."""
    return [key for key in {**recorded, **rebuilt} if recorded.get(key, ABSENT) != rebuilt.get(key, ABSENT)]


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many follow."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def compare_environments(recorded: Facts, rebuilt: Facts) -> dict[str, tuple[Any, Any]]:
    """What bits may depend on and is another here: recorded and rebuilt values, by name."""
    found: dict[str, tuple[Any, Any]] = {}
    for trial in recorded.environments.keys() & rebuilt.environments.keys():
        then, now = recorded.environments[trial], rebuilt.environments[trial]
        found |= {name: (then.get(name), now.get(name)) for name in differing(then, now)}
    if not found and "bundle" in rebuilt.stages:
        # The fingerprint has two parts: what was just compared, and the file of exact versions.
        then, now = (facts.stages["bundle"]["environment"] for facts in (recorded, rebuilt))
        if then != now:
            found["requirements.lock"] = ("another file", "this one")
    return dict(sorted(found.items()))


def compare_metrics(recorded: Facts, rebuilt: Facts) -> list[MetricComparison]:
    """Every metric that has an interval: PyTorch's, and those of the runtime that answers by default."""
    pairs = [("", recorded.stages["evaluate"]["metrics"], rebuilt.stages["evaluate"]["metrics"])]
    if recorded.runtime:
        name = recorded.runtime
        pairs.append((f"{name} ", recorded.stages["gate"][name], rebuilt.stages["gate"].get(name, {})))
    return [
        MetricComparison(prefix + name, value, other := now.get(name, {}), is_within(value, other))
        for prefix, then, now in pairs
        for name, value in then.items()
        if isinstance(value, dict) and "low" in value
    ]


def is_within(recorded: Mapping[str, float | None], rebuilt: Mapping[str, float | None]) -> bool:
    """Whether a metric lies within the recorded interval.

    Where all was right, every resample says so and the interval has no width: then the recorded value has to lie
    within the interval of the rebuilt one. Percentile intervals of a calibration error, which resampling only makes
    larger, may miss their own value: it counts as within.
    """
    if recorded["low"] is not None and recorded["low"] == recorded["high"]:
        recorded, rebuilt = rebuilt, recorded
    value, low, high, own = (
        rebuilt.get("value"), recorded.get("low"), recorded.get("high"), recorded.get("value"),
    )  # fmt: skip
    if value is None or low is None or high is None or own is None:
        return value is None and own is None
    return min(low, own) <= value <= max(high, own)
