"""`config/evaluate/`: how the test split is scored."""

from typing import Annotated

from pydantic import Field

from imagewright.config.section import Section


class EvaluateConfig(Section):
    """One file of `config/evaluate/`; it is also all that `evaluate` reads."""

    resamples: Annotated[int, Field(ge=100)] = 1000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] = 64
    threads: Annotated[int, Field(ge=1)] = 2
    pictures: Annotated[int, Field(ge=1, le=100)] = 24
