"""`config/gate/`: the limits beyond which an exported model is not served."""

from typing import Annotated

from pydantic import Field

from imagewright.config.evaluate import EvaluateConfig
from imagewright.config.layout import Layout
from imagewright.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class RuntimeLimits(Section):
    """How far a runtime may be from PyTorch, and whether the run fails where it is further."""

    required: bool
    max_flips: Share
    max_abs_diff: Share
    max_metric_drop: Share


class LiveLimits(Section):
    """How far what comes over HTTP may be from what the same file answers without it; beyond, the run fails."""

    max_flips: Share = 0.0
    max_abs_diff: Share = 1e-5


class GateConfig(Section):
    """One file of `config/gate/`."""

    onnx: RuntimeLimits
    int8: RuntimeLimits
    openvino: RuntimeLimits | None = None
    http: LiveLimits = LiveLimits()
    min_metric: Share | None = None
    max_class_excess: Share = 0.3
    latency_runs: Annotated[int, Field(ge=1)] = 50
    threads: Annotated[int, Field(ge=1)] = 2
    batch_size: Annotated[int, Field(ge=1)] = 64


class GateSection(Section):
    """What `gate` reads: its limits, how `evaluate` resamples, so that intervals mean the same, and where pictures are.

    Attributes:
        gate: the limits.
        evaluate: how intervals are made.
        layout: of the raw data, whose original files are sent to the server.
        max_pixels: of a raw picture.
    """

    gate: GateConfig
    evaluate: EvaluateConfig
    layout: Layout
    max_pixels: int
