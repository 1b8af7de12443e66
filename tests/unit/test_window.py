"""The sliding window: what MONAI computes, but inside the network, so that the exported graph computes it too."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from imagewright.errors import ModelError
from imagewright.export.onnx_file import INPUT, write_onnx
from imagewright.models.build import ModelSpec, build_backbone
from imagewright.models.network import Predictor, build_network, load_network, save_weights
from imagewright.models.window import SlidingWindow, unwrapped

UNET = {"spatial_dims": 2, "channels": [4, 8], "strides": [2], "norm": "batch"}


def spec(**values: Any) -> ModelSpec:
    base: dict[str, Any] = {
        "library": "monai",
        "name": "UNet",
        "channels": 3,
        "classes": 2,
        "task": "segmentation",
        "height": 40,
        "width": 48,
        "arguments": UNET,
        "window": {"height": 16, "width": 24, "overlap": 0.25},
    }
    return ModelSpec(**base | values)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=2)).eval()


@pytest.mark.parametrize("picture", [(40, 48), (16, 24), (17, 50)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6, 0.99])
def test_it_is_what_monai_computes(picture: tuple[int, int], overlap: float) -> None:
    inner, images = network(), torch.rand(2, 3, *picture, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = SlidingWindow(inner, picture, (16, 24), overlap).eval()(images)
        expected = sliding_window_inference(images, (16, 24), 4, inner, overlap=overlap, mode="gaussian")
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_training_sees_crops_as_they_are() -> None:
    inner, crops = network(), torch.rand(2, 3, 16, 24)
    assert torch.equal(SlidingWindow(inner, (40, 48), (16, 24), 0.25).train()(crops), inner(crops))


def test_a_network_with_a_window_comes_back_with_its_weights_alone(tmp_path: Path) -> None:
    # What follows from the config would be a second truth beside it.
    built = build_network(spec(), [0.5] * 3, [0.2] * 3).eval()
    assert isinstance(built.backbone, SlidingWindow)
    without = build_network(spec(window=None), [0.5] * 3, [0.2] * 3)
    assert len(built.state_dict()) == len(without.state_dict())
    save_weights(built, tmp_path / "model.safetensors")
    images = torch.randint(0, 256, (2, 40, 48, 3), dtype=torch.uint8)
    assert torch.equal(load_network(spec(), tmp_path / "model.safetensors")(images), built(images))


def test_the_architecture_is_within() -> None:
    assert type(unwrapped(build_backbone(spec()))).__name__ == "UNet"
    plain = build_backbone(spec(window=None))
    assert unwrapped(plain) is plain


def test_what_is_served_slides_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    predictor = Predictor(build_network(spec(), [0.5] * 3, [0.2] * 3), 1.0).eval()
    write_onnx(predictor, (40, 48, 3), 20, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = np.random.default_rng(count).integers(0, 256, (count, 40, 48, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = predictor(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(session.run(None, {INPUT: images})[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (spec(window={"height": 48, "width": 24, "overlap": 0.25}), "48x24 is larger than the pictures, 40x48"),
        (spec(task="classification"), "model.window is for segmentation"),
        (spec(window={"height": 15, "width": 24, "overlap": 0.25}), "UNet cannot take 15x24 windows of 40x48 pictures"),
    ],
    ids=["too-large", "no-segmenter", "no-multiple"],
)
def test_a_window_that_does_not_fit(wrong: ModelSpec, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        build_backbone(wrong)
    assert problem in caught.value.problem and len(str(caught.value).splitlines()) == 2
