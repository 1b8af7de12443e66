"""Which mean and standard deviation a network is fed by."""

from collections.abc import Sequence

from torch import nn

from imagewright.models.build import ModelSpec
from imagewright.models.window import unwrapped


def normalisation(
    backbone: nn.Module, spec: ModelSpec, pretrained: str, mean: Sequence[float], std: Sequence[float]
) -> tuple[list[float], list[float], str]:
    """Mean and standard deviation of each channel on a scale from 0 to 1, and who says so.

    A timm model of colour pictures, and a pretrained timm encoder, are fed as timm's data config says: their weights
    were learnt on that. All others are fed by what the train split measures.

    Args:
        backbone: what `build_backbone` made.
        spec: of the backbone.
        pretrained: `model.pretrained`.
        mean, std: of the train split.

    Returns:
        Mean, standard deviation, and `timm` or `train`.
    """
    from timm.data import resolve_model_data_config

    network: nn.Module | None = unwrapped(backbone)
    if spec.library == "smp" and pretrained != "none":
        # smp's own encoders know no data config; those that it takes from timm hold timm's model.
        network = getattr(network.encoder, "model", None)  # type: ignore[union-attr]
    elif spec.library != "timm":
        network = None
    if spec.channels == 3 and hasattr(network, "pretrained_cfg"):
        config = resolve_model_data_config(network)
        return list(config["mean"]), list(config["std"]), "timm"
    return list(mean), list(std), "train"
