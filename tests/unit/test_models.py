"""Networks: what goes in, what comes out, and a mistake in the config told before an hour has passed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from imagewright.errors import ModelError
from imagewright.files import read_json, sha256, write_json
from imagewright.models.build import ModelSpec, build_backbone
from imagewright.models.network import Network, Predictor, build_network, load_network, load_predictor, save_weights
from imagewright.models.predict import predict_batches

UNET = {"spatial_dims": 2, "channels": [4, 8], "strides": [2], "norm": "batch"}
# Half of half of 18 is no whole number.
DEEP = UNET | {"channels": [4, 8, 16], "strides": [2, 2]}


def spec(**values: Any) -> ModelSpec:
    base: dict[str, Any] = {
        "library": "monai",
        "name": "UNet",
        "channels": 1,
        "classes": 3,
        "task": "segmentation",
        "height": 16,
        "width": 24,
        "arguments": UNET,
    }
    return ModelSpec(**base | values)


def classifier(**values: Any) -> ModelSpec:
    base: dict[str, Any] = {"library": "timm", "name": "resnet10t", "task": "classification", "arguments": {}}
    return spec(**base | {"height": 32, "width": 32} | values)


def smp(**values: Any) -> ModelSpec:
    base: dict[str, Any] = {"library": "smp", "name": "Unet", "arguments": {"encoder_name": "resnet18"}}
    return spec(**base | {"height": 32, "width": 64} | values)


def pictures(count: int, channels: int = 1, height: int = 16, width: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, height, width, channels), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_classifier(channels: int) -> None:
    network = build_network(classifier(channels=channels), [0.5] * channels, [0.2] * channels).eval()
    assert network(pictures(2, channels, 32, 32)).shape == (2, 3)


def test_a_segmenter() -> None:
    network = build_network(spec(), [0.5], [0.2]).eval()
    assert network(pictures(2)).shape == (2, 3, 16, 24)
    assert Predictor(network, 1.0)(pictures(2)).shape == (2, 16, 24, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["Unet", "FPN", "DeepLabV3Plus"])
@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet10t"])
def test_a_segmenter_of_smp(name: str, channels: int, encoder: str) -> None:
    # Importing smp needs torchvision, which `imagewright.models` makes importable first.
    built = smp(name=name, channels=channels, arguments={"encoder_name": encoder})
    network = build_network(built, [0.5] * channels, [0.2] * channels).eval()
    assert network(pictures(2, channels, 32, 64)).shape == (2, 3, 32, 64)


def test_a_spec_is_plain_json_and_comes_back(tmp_path: Path) -> None:
    full = smp(window={"height": 32, "width": 32, "overlap": 0.25})
    write_json(tmp_path / "spec.json", full.to_dict())
    assert ModelSpec(**read_json(tmp_path / "spec.json")) == full


def test_the_same_seed_gives_the_same_weights() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return list(build_network(spec(), [0.5], [0.2]).state_dict().values())

    assert all(torch.equal(one, other) for one, other in zip(weights(1), weights(1), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(weights(1), weights(2), strict=True))


@pytest.mark.parametrize(
    ("wrong", "problem", "remedy"),
    [
        (classifier(name="resnet10tt"), "model.name: timm has no model 'resnet10tt'", "'resnet10t'"),
        (spec(name="UNett"), "model.name: MONAI has no network 'UNett'", "did you mean"),
        (classifier(arguments={"blocks": 3}), "model.arguments: timm model 'resnet10t' cannot be", "config/model/"),
        (spec(arguments={}), "model.arguments: monai model 'UNet' cannot be built with {}", "config/model/"),
        (smp(name="Unett"), "model.name: smp has no architecture 'Unett'", "'Unet'"),
        (smp(arguments={"encoder_name": "resnet19"}), "smp has no encoder 'resnet19'", "'resnet18'"),
        (smp(arguments={"encoder_name": "tu-resnet10"}), "smp has no encoder 'tu-resnet10'", "'tu-resnet10t'"),
        (smp(arguments={"encoder_weights": "imagenet"}), "encoder_weights would load weights that no", "pretrained"),
        (classifier(arguments={"pretrained": True}), "pretrained would load weights that no record", "pretrained"),
        (spec(height=18, arguments=DEEP), "UNet cannot take 18x24 pictures", "config/tensors/"),
        (spec(task="classification"), "UNet gives (1, 3, 16, 24) where classification needs (1, 3)", "another model"),
        (classifier(task="segmentation"), "resnet10t gives (1, 3) where segmentation needs (1, 3, 32, 32)", "another"),
    ],
    ids=[
        "name", "monai-name", "argument", "missing-argument", "smp-name", "encoder", "timm-encoder", "encoder-weights",
        "weights", "size", "no-classifier", "no-segmenter",
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_said_in_two_lines(wrong: ModelSpec, problem: str, remedy: str) -> None:
    with pytest.raises(ModelError) as caught:
        build_backbone(wrong)
    assert problem in caught.value.problem and remedy in caught.value.remedy
    assert len(str(caught.value).splitlines()) == 2


def test_scaling_and_normalising_by_hand() -> None:
    # Serving that normalises otherwise than training was one of the silent failures: here it is part of the weights.
    images = pictures(2, channels=3)
    found = Network(nn.Identity(), [0.1, 0.2, 0.3], [0.5, 0.4, 0.3])(images)
    expected = (images.numpy() / 255 - np.array([0.1, 0.2, 0.3])) / np.array([0.5, 0.4, 0.3])
    assert found.shape == (2, 3, 16, 24)
    np.testing.assert_allclose(found.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_probabilities_by_hand(temperature: float) -> None:
    network = Network(nn.Identity(), [0.0] * 3, [0.1] * 3)
    images = pictures(2, channels=3)
    logits = images.numpy().astype(np.float64) / 25.5
    exponents = np.exp(logits / temperature)
    found = Predictor(network, temperature)(images).numpy()
    np.testing.assert_allclose(found, exponents / exponents.sum(axis=-1, keepdims=True), rtol=1e-4, atol=1e-7)


def test_weights_come_back_with_mean_and_deviation(tmp_path: Path) -> None:
    network = build_network(spec(), [0.3], [0.7]).eval()
    save_weights(network, tmp_path / "model.safetensors")
    loaded = load_network(spec(), tmp_path / "model.safetensors")
    assert torch.equal(loaded(pictures(2)), network(pictures(2)))
    assert loaded.mean.item() == pytest.approx(0.3) and loaded.std.item() == pytest.approx(0.7)
    assert not loaded.training
    save_weights(loaded, tmp_path / "again.safetensors")
    assert sha256(tmp_path / "again.safetensors") == sha256(tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", [b"", b"no weights at all", None], ids=["empty", "text", "another-network"])
def test_weights_that_do_not_fit(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.safetensors"
    if content is None:
        save_weights(build_network(spec(classes=4), [0.3], [0.7]), path)
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors: these are no weights of UNet") as caught:
        load_network(spec(), path)
    assert len(str(caught.value).splitlines()) == 2


def test_the_selected_model_is_loaded_with_its_temperature(tmp_path: Path) -> None:
    network = build_network(spec(), [0.3], [0.7]).eval()
    save_weights(network, tmp_path / "model.safetensors")
    write_json(tmp_path / "selection.json", {"model": spec().to_dict(), "temperature": 2.5})
    assert torch.equal(load_predictor(tmp_path)(pictures(2)), Predictor(network, 2.5)(pictures(2)))


def test_batches_cover_everything_once_and_in_order() -> None:
    images = pictures(10).numpy()
    network = Network(nn.Identity(), [0.0], [1 / 255])
    network.train()
    parts = list(predict_batches(network, images, batch_size=4))
    assert [(part.start, part.stop) for part, _ in parts] == [(0, 4), (4, 8), (8, 10)]
    assert np.array_equal(np.concatenate([output for _, output in parts])[:, 0].round(), images[..., 0])
    # Batch norm that still learns would change the model that is measured.
    assert not network.training
