"""Start from weights that were learnt elsewhere, and record which."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imagewright.errors import ModelError
from imagewright.models.build import ModelSpec
from imagewright.models.freeze import ENCODERS, head_of
from imagewright.models.weight_fit import NEARLY_ALL, Tensors, check_fit, count_fit, matching, misfit, within
from imagewright.models.weight_sources import OTHER_WAYS, hub, read_file, read_package
from imagewright.models.window import unwrapped


def load_pretrained(backbone: nn.Module, spec: ModelSpec, pretrained: str) -> dict[str, Any]:
    """Put pretrained weights into a backbone; what they do not cover keeps its fresh weights.

    A head for another number of classes starts at zero, so that every class is as likely as any other. A first
    convolution for another number of channels is adapted as timm does it: summed over the channels for grey pictures.
    An smp network takes the weights into its encoder.

    Args:
        backbone: what `build_backbone` made.
        spec: of the backbone.
        pretrained: `none`, `hub`, `file:<path>` or `package:<name>`.

    Returns:
        For the record: `source`, `sha256` of the tensors that went in, how many were `loaded`, of how many `tensors`.

    Raises:
        ModelError: the weights cannot be had, or belong to another architecture.
    """
    network = unwrapped(backbone)
    own = network.state_dict()
    if pretrained == "none":
        return {"source": pretrained, "sha256": None, "loaded": 0, "tensors": len(own)}
    # timm warns of layers that a part of an architecture does not have; the record counts them.
    logging.getLogger("timm").setLevel(logging.ERROR)
    donate = {"timm": _from_timm, "monai": _from_monai, "smp": _from_smp}[spec.library]
    # A network that is only built to take weights from draws random numbers; the trial's do not depend on it.
    with torch.random.fork_rng(devices=[]):
        donated = donate(network, spec, _read(pretrained), pretrained)
    network.load_state_dict(dict(donated), strict=False)
    if spec.library == "timm":
        _level_head(network, spec, donated)
    return {"source": pretrained, "sha256": _sha256(donated), "loaded": len(donated), "tensors": len(own)}


def _read(pretrained: str) -> Tensors | None:
    """The tensors of a file or a package; none for the hub, where each library knows its own way."""
    source, _, place = pretrained.partition(":")
    if source == "file":
        return read_file(Path(place))
    return read_package(place) if source == "package" else None


def _from_timm(network: nn.Module, spec: ModelSpec, tensors: Tensors | None, source: str) -> Tensors:
    """What timm puts into a second network, with all that it knows of the architecture's checkpoints."""
    import timm

    head = _names(network, head_of(network, spec))

    def make(overlay: dict[str, Any]) -> Any:
        return timm.create_model(
            spec.name, pretrained=True, pretrained_cfg_overlay=overlay, in_chans=spec.channels,
            num_classes=spec.classes, **spec.arguments,
        )  # fmt: skip

    if tensors is None:
        with hub(spec.name):
            donor = make({})
    else:
        donor = _filled(make, network, head, tensors, spec.name, source)
    fresh = head if donor.pretrained_cfg["num_classes"] != spec.classes else []
    return {name: value for name, value in donor.state_dict().items() if not within(name, fresh)}


def _from_smp(network: Any, spec: ModelSpec, tensors: Tensors | None, source: str) -> Tensors:
    """Weights for the encoder alone, or for the whole network where a file holds one."""
    import segmentation_models_pytorch as smp
    import timm
    from segmentation_models_pytorch.encoders import TimmUniversalEncoder

    encoder, own = network.encoder, network.state_dict()
    name = spec.arguments.get("encoder_name", "resnet34")
    form = {"in_channels": spec.channels, "depth": encoder._depth, "output_stride": encoder._output_stride}
    if tensors is None:
        # Of timm's encoders the name says which weights; of smp's own the first are the usual ones.
        weights = next(iter(smp.encoders.encoders.get(name, {}).get("pretrained_settings", [True])))
        with hub(name):
            donated = smp.encoders.get_encoder(name, weights=weights, **form).state_dict()
    elif _fits(tensors, own):
        return matching(tensors, own)
    elif isinstance(encoder, TimmUniversalEncoder):
        with torch.device("meta"):
            whole = timm.create_model(encoder.name, in_chans=spec.channels)

        def make(overlay: dict[str, Any]) -> Any:
            return TimmUniversalEncoder(encoder.name, pretrained=True, pretrained_cfg_overlay=overlay, **form)

        head = _names(whole, [whole.get_classifier()])
        donated = _filled(make, whole, head, tensors, name, source).state_dict()
    else:
        check_fit(tensors, encoder.state_dict(), name, source)
        donated = matching(tensors, encoder.state_dict())
    return {f"encoder.{part}": value for part, value in donated.items()}


def _from_monai(network: nn.Module, spec: ModelSpec, tensors: Tensors | None, source: str) -> Tensors:
    """A state dict of the same class; from the hub, what MONAI has for an encoder."""
    if tensors is not None:
        check_fit(tensors, network.state_dict(), spec.name, source)
        return matching(tensors, network.state_dict())
    if spec.name not in ENCODERS:
        raise ModelError(f"model.pretrained: MONAI keeps no weights of {spec.name} on a hub", OTHER_WAYS)
    with hub(spec.name):
        values = {"in_channels": spec.channels, "out_channels": spec.classes, **spec.arguments, "pretrained": True}
        donor = type(network)(**values)
    return {name: value for name, value in donor.state_dict().items() if within(name, ["encoder"])}


def _filled(
    make: Callable[[dict[str, Any]], Any], like: Any, head: list[str], tensors: Tensors, name: str, source: str
) -> Any:
    """A network that timm filled with tensors, whatever channels and classes those are for.

    Args:
        make: builds it with an overlay of its `pretrained_cfg`.
        like: timm's whole network of the same architecture.
        head: names of its head's modules.
        tensors: of a file or a package.
        name, source: for the message.
    """
    check_fit(tensors, like.state_dict(), name, source, head)
    classes = [tensors[f"{part}.weight"].shape[0] for part in head if f"{part}.weight" in tensors]
    overlay = {"state_dict": dict(tensors), "classifier": tuple(head), "num_classes": classes[0] if classes else 0}
    first = like.pretrained_cfg.get("first_conv")
    stem = like.get_submodule(first) if isinstance(first, str) else None
    if isinstance(stem, nn.Conv2d) and f"{first}.weight" in tensors:
        # How many channels the tensors are for, so that timm adapts them to ours.
        channels = tensors[f"{first}.weight"].shape[1] * like.in_chans * stem.groups // stem.in_channels
        overlay["input_size"] = (channels, *like.pretrained_cfg["input_size"][1:])
    try:
        return make(overlay)
    except (RuntimeError, ValueError, KeyError) as error:
        raise misfit(f"timm cannot put the tensors into {name}", source) from error


def _fits(tensors: Tensors, own: Tensors) -> bool:
    fitting, counted = count_fit(tensors, own)
    return fitting >= NEARLY_ALL * counted


def _level_head(network: nn.Module, spec: ModelSpec, donated: Tensors) -> None:
    """Let a new classifier start at zero: timm's random one may be so large that an epoch goes by to unlearn it."""
    for module in head_of(network, spec):
        names = _names(network, [module])
        if not any(within(name, names) for name in donated):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


def _names(network: nn.Module, modules: list[nn.Module]) -> list[str]:
    return [name for name, module in network.named_modules() if module in modules]


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and bytes, whatever the order."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
