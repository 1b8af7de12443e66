"""The base of every configuration schema, and how a stage reads its own section."""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a section that `resolve` wrote, for example `results/resolve/train/digits/default.yaml`."""
        return cls.model_validate(yaml.safe_load(path.read_text()))

    def to_yaml(self) -> str:
        """The section with its keys sorted: equal content gives equal text, whatever the order in `config/`."""
        return yaml.safe_dump(self.to_dict(), sort_keys=True, allow_unicode=True)

    def to_dict(self) -> dict[str, Any]:
        """The section as plain JSON values."""
        return self.model_dump(mode="json")
