"""From stored pictures to logits, and from logits to calibrated probabilities: one graph, exported whole."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imagewright.errors import ModelError, first_line
from imagewright.files import read_json
from imagewright.models.build import ModelSpec, build_backbone


class Network(nn.Module):
    """A backbone behind its preprocessing: N × H × W × C uint8 in, logits N × classes (× H × W) out.

    The mean and the standard deviation of the train split are buffers, so they are part of the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits, with the classes on axis 1."""
        scaled = images.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        logits: Tensor = self.backbone((scaled - self.mean) / self.std)
        return logits


class Predictor(nn.Module):
    """A network whose probabilities are calibrated: N × H × W × C uint8 in, probabilities N (× H × W) × classes out.

    Dividing logits by a temperature is Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """

    temperature: Tensor

    def __init__(self, network: Network, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, with the classes on the last axis for both tasks."""
        logits = self.network(images).movedim(1, -1)
        return torch.softmax(logits / self.temperature, dim=-1)


def build_network(spec: ModelSpec, mean: Sequence[float], std: Sequence[float]) -> Network:
    """A network with fresh weights.

    Raises:
        ModelError: see `build_backbone`.
    """
    return Network(build_backbone(spec), mean, std)


def save_weights(network: Network, path: Path) -> None:
    """Write the weights as safetensors: the same weights give the same bytes."""
    save_file({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, path)


def load_network(spec: ModelSpec, weights: Path) -> Network:
    """A network with stored weights, in evaluation mode on the CPU.

    Raises:
        ModelError: the file is broken or belongs to another architecture.
    """
    network = build_network(spec, [0.0] * spec.channels, [1.0] * spec.channels)
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"{weights}: these are no weights of {spec.name} ({first_line(error)})",
            "build it again from `train`: delete the file and run snakemake",
        ) from error
    return network.eval()


def load_predictor(selected: Path) -> Predictor:
    """The selected model with its temperature, in evaluation mode on the CPU.

    Args:
        selected: what `select` wrote: `model.safetensors` and `selection.json`.
    """
    selection = read_json(selected / "selection.json")
    network = load_network(ModelSpec(**selection["model"]), selected / "model.safetensors")
    return Predictor(network, selection["temperature"]).eval()
