"""`config/gate/`: the limits beyond which an exported model is not served."""

from typing import Annotated

from pydantic import Field

from imagewright.config.evaluate import EvaluateConfig
from imagewright.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class RuntimeLimits(Section):
    """How far a runtime may be from PyTorch, and whether the run fails where it is further."""

    required: bool
    max_flips: Share
    max_abs_diff: Share
    max_metric_drop: Share


class GateConfig(Section):
    """One file of `config/gate/`."""

    onnx: RuntimeLimits
    int8: RuntimeLimits
    min_metric: Share | None = None
    max_class_excess: Share = 0.3
    latency_runs: Annotated[int, Field(ge=1)] = 50
    threads: Annotated[int, Field(ge=1)] = 2
    batch_size: Annotated[int, Field(ge=1)] = 64


class GateSection(Section):
    """What `gate` reads: its limits, and how `evaluate` resamples, so that intervals mean the same."""

    gate: GateConfig
    evaluate: EvaluateConfig
