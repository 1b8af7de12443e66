"""Build an architecture by its name in timm or MONAI."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from imagewright.config.names import nearest
from imagewright.errors import ModelError, first_line


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a network again; it travels with the weights.

    Attributes:
        library: timm or monai.
        name: the architecture's name there.
        channels: of the input.
        classes: number of outputs.
        task: classification or segmentation.
        height, width: of the input, in pixels.
        arguments: for the constructor.
    """

    library: str
    name: str
    channels: int
    classes: int
    task: str
    height: int
    width: int
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def build_backbone(spec: ModelSpec) -> nn.Module:
    """Build the architecture with random weights from PyTorch's global generator.

    Returns:
        A module from N × channels × H × W floats to logits: N × classes, or N × classes × H × W.

    Raises:
        ModelError: an unknown name, wrong arguments, or a network whose output does not fit the task.
    """
    maker = {"timm": _from_timm, "monai": _from_monai}[spec.library]
    try:
        backbone = maker(spec)
    except ModelError:
        raise
    except Exception as error:  # a constructor may raise anything on arguments that do not fit
        raise ModelError(
            f"model.arguments: {spec.library} model {spec.name!r} cannot be built with {spec.arguments}: "
            f"{first_line(error)}",
            "correct `arguments` in config/model/",
        ) from error
    _check_output(backbone, spec)
    return backbone


def _from_timm(spec: ModelSpec) -> nn.Module:
    import timm

    if not timm.is_model(spec.name):
        raise ModelError(f"model.name: timm has no model {spec.name!r}", nearest(spec.name, timm.list_models()))
    return timm.create_model(  # type: ignore[no-any-return]
        spec.name, pretrained=False, in_chans=spec.channels, num_classes=spec.classes, **spec.arguments
    )


def _from_monai(spec: ModelSpec) -> nn.Module:
    import monai.networks.nets as nets

    known = {name: value for name, value in vars(nets).items() if isinstance(value, type)}
    if spec.name not in known:
        raise ModelError(f"model.name: MONAI has no network {spec.name!r}", nearest(spec.name, known))
    return known[spec.name](  # type: ignore[no-any-return]
        in_channels=spec.channels, out_channels=spec.classes, **spec.arguments
    )


def _check_output(backbone: nn.Module, spec: ModelSpec) -> None:
    """Run one empty picture through: a wrong size shows now, not after an hour."""
    training = backbone.training
    backbone.eval()
    try:
        with torch.inference_mode():
            shape = tuple(backbone(torch.zeros(1, spec.channels, spec.height, spec.width)).shape)
    except Exception as error:  # whatever the network makes of a size it cannot take
        raise ModelError(
            f"{spec.name} cannot take {spec.height}x{spec.width} pictures: {first_line(error)}",
            "choose another size in config/tensors/ or other strides in config/model/",
        ) from error
    finally:
        backbone.train(training)
    expected = (1, spec.classes) if spec.task == "classification" else (1, spec.classes, spec.height, spec.width)
    if shape != expected:
        raise ModelError(
            f"{spec.name} gives {shape} where {spec.task} needs {expected}", "choose another model in config/model/"
        )
