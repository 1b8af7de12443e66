"""Train the head alone for a while: what pretrained weights know is not washed away by a head that knows nothing."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from imagewright.errors import ModelError
from imagewright.models.build import ModelSpec
from imagewright.models.window import unwrapped

ENCODERS = ("FlexibleUNet", "FlexUNet")
"""MONAI's networks that are built on an encoder with weights of its own."""


def head_of(backbone: nn.Module, spec: ModelSpec) -> list[nn.Module]:
    """The modules that turn features into classes: timm's classifier, or all that follows an encoder.

    Raises:
        ModelError: the architecture has no such part.
    """
    network: Any = unwrapped(backbone)
    heads: list[nn.Module] = []
    if spec.library == "timm":
        found = network.get_classifier()
        heads = list(found) if isinstance(found, tuple | list) else [found]
    elif spec.library == "smp" or spec.name in ENCODERS:
        heads = [child for name, child in network.named_children() if name != "encoder"]
    if not any(True for head in heads for _ in head.parameters()):
        raise ModelError(
            f"train.freeze: {spec.library} model {spec.name!r} has no head to train alone",
            "set train.freeze to 0, or choose a model with an encoder or a classifier",
        )
    return heads


class Freezer:
    """Holds everything but the head still, and lets it go again.

    Held parameters ask for no gradient, and held modules stay in evaluation mode, so that the running statistics of
    their batch norms do not move.

    Args:
        backbone: what `build_backbone` made.
        spec: of the backbone.
        keep_statistics: whether batch norms keep their running statistics, and go by them, to the end. The batches of
            a small fine-tuning have others than the pretraining: by theirs, good features turn bad at once.

    Attributes:
        frozen: whether the head is trained alone.
    """

    def __init__(self, backbone: nn.Module, spec: ModelSpec, keep_statistics: bool = False) -> None:
        self.backbone = backbone
        self.spec = spec
        self.keep_statistics = keep_statistics
        self.frozen = False
        self._parameters: list[Tensor] = []
        self._modules: list[nn.Module] = []

    def freeze(self) -> None:
        """Hold all but the head.

        Raises:
            ModelError: the architecture has no head.
        """
        heads = head_of(self.backbone, self.spec)
        trained = {parameter for head in heads for parameter in head.parameters()}
        self._parameters = [
            parameter
            for parameter in self.backbone.parameters()
            if parameter.requires_grad and parameter not in trained
        ]
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        # What contains the head goes on training: a classifier's dropout looks at the mode of the module around it.
        parts = {part for head in heads for part in head.modules()}
        self._modules = [module for module in self.backbone.modules() if parts.isdisjoint(module.modules())]
        self.frozen = True

    def unfreeze(self) -> None:
        """Let go what `freeze` held."""
        for parameter in self._parameters:
            parameter.requires_grad_(True)
        self._parameters, self._modules = [], []
        self.frozen = False

    def set_training_mode(self) -> None:
        """Put the backbone into training mode, and what is held back into evaluation mode."""
        self.backbone.train()
        norms = [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]
        for module in self._modules + (norms if self.keep_statistics else []):
            module.training = False
