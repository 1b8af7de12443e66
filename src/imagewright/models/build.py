"""Build an architecture by its name in timm, MONAI or segmentation_models_pytorch."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from imagewright.config.names import nearest
from imagewright.errors import ModelError, first_line
from imagewright.models.window import SlidingWindow

LOADING = {"pretrained", "encoder_weights", "checkpoint_path", "pretrained_cfg_overlay"}
"""Arguments by which the libraries would fetch weights themselves, past the record."""


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a network again; it travels with the weights.

    Attributes:
        library: timm, monai or smp (segmentation_models_pytorch).
        name: the architecture's name there.
        channels: of the input.
        classes: number of outputs.
        task: classification or segmentation.
        height, width: of the input, in pixels.
        arguments: for the constructor.
        window: height, width and overlap of the pieces that a segmentation network sees; none for whole pictures.
    """

    library: str
    name: str
    channels: int
    classes: int
    task: str
    height: int
    width: int
    arguments: dict[str, Any] = field(default_factory=dict)
    window: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def build_backbone(spec: ModelSpec) -> nn.Module:
    """Build the architecture with random weights from PyTorch's global generator.

    Returns:
        A module from N × channels × H × W floats to logits: N × classes, or N × classes × H × W. With a window it is a
        `SlidingWindow` around the architecture.

    Raises:
        ModelError: an unknown name, wrong arguments, a window that does not fit, or a network whose output does not
            fit the task.
    """
    if loading := LOADING & set(spec.arguments):
        raise ModelError(
            f"model.arguments: {', '.join(sorted(loading))} would load weights that no record shows",
            "take it out and set model.pretrained",
        )
    maker = {"timm": _from_timm, "monai": _from_monai, "smp": _from_smp}[spec.library]
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
    if spec.window:
        backbone = _windowed(backbone, spec, **spec.window)
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


def _from_smp(spec: ModelSpec) -> nn.Module:
    import segmentation_models_pytorch as smp
    import timm

    known = {name: value for name, value in vars(smp).items() if hasattr(value, "requires_divisible_input_shape")}
    if spec.name not in known:
        raise ModelError(f"model.name: smp has no architecture {spec.name!r}", nearest(spec.name, known))
    encoder = spec.arguments.get("encoder_name", "resnet34")
    own = smp.encoders.get_encoder_names()
    if encoder not in own and not (encoder.startswith("tu-") and timm.is_model(encoder[3:])):
        universal = [f"tu-{name}" for name in timm.list_models()]
        raise ModelError(
            f"model.arguments.encoder_name: smp has no encoder {encoder!r}", nearest(encoder, [*own, *universal])
        )
    return known[spec.name](  # type: ignore[no-any-return]
        encoder_weights=None, in_channels=spec.channels, classes=spec.classes, **spec.arguments
    )


def _windowed(network: nn.Module, spec: ModelSpec, height: int, width: int, overlap: float) -> nn.Module:
    if spec.task != "segmentation":
        raise ModelError("model.window is for segmentation: a classifier sees the whole picture", "set it to null")
    if height > spec.height or width > spec.width:
        raise ModelError(
            f"model.window: {height}x{width} is larger than the pictures, {spec.height}x{spec.width}",
            "make the window smaller, or the pictures larger in config/tensors/",
        )
    return SlidingWindow(network, (spec.height, spec.width), (height, width), overlap)


def _check_output(backbone: nn.Module, spec: ModelSpec) -> None:
    """Run one empty picture through: a wrong size shows now, not after an hour."""
    training = backbone.training
    backbone.eval()
    seen = f"{spec.window['height']}x{spec.window['width']} windows of " if spec.window else ""
    try:
        with torch.inference_mode():
            shape = tuple(backbone(torch.zeros(1, spec.channels, spec.height, spec.width)).shape)
    except Exception as error:  # whatever the network makes of a size it cannot take
        raise ModelError(
            f"{spec.name} cannot take {seen}{spec.height}x{spec.width} pictures: {first_line(error)}",
            "choose another size in config/tensors/, or another window or other strides in config/model/",
        ) from error
    finally:
        backbone.train(training)
    expected = (1, spec.classes) if spec.task == "classification" else (1, spec.classes, spec.height, spec.width)
    if shape != expected:
        raise ModelError(
            f"{spec.name} gives {shape} where {spec.task} needs {expected}", "choose another model in config/model/"
        )
