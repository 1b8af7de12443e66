"""`config/tensors/`: the form in which images are stored, trained on and served."""

from typing import Annotated, Literal, Self

from pydantic import Field

from imagewright.config.data import DataConfig, Depth, Task
from imagewright.config.layout import Layout
from imagewright.config.section import Section


class FormConfig(Section):
    """Size and colour of what a picture becomes."""

    height: Annotated[int, Field(ge=8, le=8192)]
    width: Annotated[int, Field(ge=8, le=8192)]
    colour: Literal["gray", "rgb"]
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    background: Annotated[int, Field(ge=0, le=255)] = 255

    @property
    def channels(self) -> int:
        """1 for gray, 3 for rgb."""
        return 1 if self.colour == "gray" else 3


class InputConfig(FormConfig):
    """How a picture becomes an array: the one definition that tensors, the gate and the server share."""

    depth: Depth = 16


class TensorsConfig(FormConfig):
    """One file of `config/tensors/`."""

    shard: Annotated[int, Field(ge=1)] = 512
    verify: Annotated[int, Field(ge=1)] = 64


class TensorsSection(Section):
    """What `tensors` reads: the tensors config, and of the data config what is needed to open a sample."""

    task: Task
    layout: Layout
    classes: list[str] | None
    mask_values: list[list[int]] | None
    ignore: list[str]
    max_pixels: int
    depth: Depth
    tensors: TensorsConfig

    @property
    def input(self) -> InputConfig:
        """The form that pictures are brought into, here and in service."""
        return InputConfig(depth=self.depth, **self.tensors.model_dump(include=set(FormConfig.model_fields)))

    @classmethod
    def of(cls, data: DataConfig, tensors: TensorsConfig) -> Self:
        """The section of a data config and a tensors config."""
        return cls(
            task=data.task,
            layout=data.layout,
            classes=data.class_names,
            mask_values=data.mask_values,
            ignore=data.ignore,
            max_pixels=data.max_pixels,
            depth=data.depth or 16,
            tensors=tensors,
        )
