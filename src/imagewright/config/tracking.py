"""`config/tracking/`: whether and where Weights & Biases keeps the runs; no result depends on it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from imagewright.config.section import Section


class TrackingConfig(Section):
    """One file of `config/tracking/`; it is also all that a stage reads of it."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "imagewright"
    entity: str | None = None
    pictures: Annotated[int, Field(ge=0)] = 16

    @classmethod
    def read_or_off(cls, path: Path | None) -> Self:
        """Read a section; without one, tracking is off."""
        return cls.read(path) if path else cls(mode="disabled")
