"""`sweep:` of an experiment: which trials are run, as a grid or as a seeded random sample."""

import hashlib
import itertools
import json
import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from imagewright.config.section import Section

VARIED = ("model", "loss", "optimizer", "augment", "train")
"""The groups whose keys may differ from trial to trial; the rest belongs to the experiment as a whole."""

MOST = 1000
"""Trials of a sweep, at most: more is a slip of the pen, or work for another tool."""

Value = bool | int | float | str | list[Any] | dict[str, Any] | None


class Range(Section):
    """Numbers between two bounds, for a random sample."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    whole: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError("low has to be less than high")
        if self.scale == "log" and self.low <= 0:
            raise ValueError("a log scale needs low above 0")
        return self

    def at(self, share: float) -> float | int:
        """The number at a share of the way from low to high; three digits say enough."""
        low, high = (math.log(self.low), math.log(self.high)) if self.scale == "log" else (self.low, self.high)
        value = low + share * (high - low)
        value = math.exp(value) if self.scale == "log" else value
        return round(value) if self.whole else float(f"{value:.3g}")


class SweepConfig(Section):
    """What varies, and how trials are chosen."""

    method: Literal["grid", "random"]
    trials: Annotated[int, Field(ge=1, le=MOST)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    parameters: Annotated[dict[str, Range | Annotated[list[Value], Field(min_length=1)]], Field(min_length=1)]

    @field_validator("parameters")
    @classmethod
    def _may_vary(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for key in parameters:
            if key.split(".")[0] not in VARIED or key == "train.monitor":
                raise ValueError(f"{key} may not vary from trial to trial; a sweep varies {', '.join(VARIED)}")
        return parameters

    @model_validator(mode="after")
    def _fits_method(self) -> "SweepConfig":
        if self.method == "random" and self.trials is None:
            raise ValueError("a random sweep needs `trials`, their number")
        if self.method == "grid":
            if self.trials is not None:
                raise ValueError("a grid has as many trials as it has cells; `trials` is for random sweeps")
            if ranges := [key for key, values in self.parameters.items() if isinstance(values, Range)]:
                raise ValueError(f"a grid needs a list of values for {ranges[0]}; ranges are for random sweeps")
            cells = math.prod(map(len, self.parameters.values()))  # type: ignore[arg-type]
            if cells > MOST:
                raise ValueError(f"a grid of {cells} trials is more than {MOST}")
        return self

    def values(self) -> list[dict[str, Any]]:
        """The values of each trial, by key, in order; the same seed gives the same sample."""
        keys = sorted(self.parameters)
        if self.method == "grid":
            cells = itertools.product(*(self.parameters[key] for key in keys))  # type: ignore[arg-type]
            return [dict(zip(keys, cell, strict=True)) for cell in cells]
        generator = np.random.default_rng(self.seed)
        return [
            {key: _drawn(self.parameters[key], generator.random()) for key in keys} for _ in range(self.trials or 0)
        ]


def trial_overrides(values: dict[str, Any]) -> list[str]:
    """A trial's values as Hydra overrides, sorted.

    `++` lets a value add to an open mapping such as `optimizer.arguments`; what no schema knows is refused later.
    """
    return sorted(f"{'++' if '.' in key else ''}{key}={_written(value)}" for key, value in values.items())


def trial_name(overrides: list[str]) -> str:
    """The name of a trial: eight hexadecimal digits that depend on its overrides alone."""
    return hashlib.sha256(" ".join(sorted(overrides)).encode()).hexdigest()[:8]


def _drawn(choices: Range | list[Any], share: float) -> Any:
    return choices.at(share) if isinstance(choices, Range) else choices[int(share * len(choices))]


def _written(value: Any) -> str:
    """A value in the grammar of Hydra's overrides: as JSON, but keys and plain words stand without quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return value if isinstance(value, str) and value.replace("_", "").isalnum() else json.dumps(value)
