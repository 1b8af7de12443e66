"""The networks of config/model/: each takes the pictures of the data that it is meant for, and can be served."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml

from imagewright.config.export import Int8
from imagewright.config.train import ModelConfig
from imagewright.export.int8 import write_int8
from imagewright.export.onnx_file import INPUT, write_onnx
from imagewright.models.build import ModelSpec
from imagewright.models.network import Network, Predictor, build_network

FILES = sorted((Path(__file__).parents[2] / "config/model").glob("*.yaml"))
# Sides and channels of faces and signs, and of tissue and photographs.
SMALL, LARGE = [(48, 1), (64, 3)], [(48, 3), (96, 3), (224, 3)]
every_config = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def make(path: Path, size: int, channels: int) -> Network:
    config = ModelConfig(**yaml.safe_load(path.read_text()))
    task = "classification" if config.library == "timm" else "segmentation"
    spec = ModelSpec(config.library, config.name, channels, 5, task, size, size, config.arguments)
    return build_network(spec, [0.5] * channels, [0.25] * channels)


@every_config
def test_it_takes_the_pictures(path: Path) -> None:
    for size, channels in SMALL:
        # Building runs an empty picture through and looks at what comes out.
        assert make(path, size, channels).mean.shape[1] == channels


@pytest.mark.proof
@every_config
def test_it_takes_large_pictures(path: Path) -> None:
    for size, channels in LARGE:
        assert make(path, size, channels).mean.shape[1] == channels


@pytest.mark.slow
@every_config
def test_it_can_be_served(path: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    network = make(path, 64, 3).train()
    with torch.no_grad():
        # Batch norms that never saw a picture let signals vanish or explode.
        for _ in range(20):
            network(torch.from_numpy(images))
    predictor = Predictor(network, 1.0).eval()
    write_onnx(predictor, (64, 64, 3), 20, tmp_path / "model.onnx")
    write_int8(tmp_path / "model.onnx", images, Int8(images=16), tmp_path / "model.int8.onnx")
    with torch.inference_mode():
        expected: Any = predictor(torch.from_numpy(images[:3])).numpy()
    found = {}
    for name in ("model.onnx", "model.int8.onnx"):
        session = onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"])
        (found[name],) = session.run(None, {INPUT: images[:3]})
    np.testing.assert_allclose(found["model.onnx"], expected, atol=1e-4)
    assert found["model.int8.onnx"].shape == expected.shape
    np.testing.assert_allclose(found["model.int8.onnx"].sum(axis=-1), 1, atol=1e-3)
