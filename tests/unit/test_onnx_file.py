"""The ONNX file: what is served answers as PyTorch does, for any number of pictures, in the same bytes each time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from imagewright.export.onnx_file import INPUT, OUTPUT, write_onnx
from imagewright.models.network import Network, Predictor

SHAPES = {"classification": (12, 10, 3), "segmentation": (8, 16, 1)}


class Small(nn.Module):
    """A convolution with batch norm, over the whole picture or pixel by pixel."""

    def __init__(self, channels: int, task: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1)
        )
        self.task = task

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(images)
        return found.mean(dim=(2, 3)) if self.task == "classification" else found


@dataclass(frozen=True)
class Exported:
    task: str
    predictor: Predictor
    path: Path

    @property
    def shape(self) -> tuple[int, int, int]:
        return SHAPES[self.task]


def make(task: str, path: Path) -> Exported:
    torch.manual_seed(0)
    channels = SHAPES[task][2]
    network = Network(Small(channels, task), [0.4] * channels, [0.3] * channels)
    predictor = Predictor(network, 0.25).eval()
    write_onnx(predictor, SHAPES[task], 20, path)
    return Exported(task, predictor, path)


@pytest.fixture(scope="module", params=list(SHAPES))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make(request.param, tmp_path_factory.mktemp("onnx") / "model.onnx")


def pictures(exported: Exported, count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *exported.shape), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_answers_as_pytorch_does(exported: Exported, count: int) -> None:
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    images = pictures(exported, count)
    (found,) = session.run(None, {INPUT: images})
    with torch.inference_mode():
        expected = exported.predictor(torch.from_numpy(images)).numpy()
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)


def test_its_form_is_what_the_server_expects(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, answer.name) == (INPUT, "tensor(uint8)", OUTPUT)
    assert tuple(given.shape[1:]) == exported.shape and isinstance(given.shape[0], str)
    places = () if exported.task == "classification" else exported.shape[:2]
    assert tuple(answer.shape[1:]) == (*places, 3)


def test_it_is_whole_and_of_the_asked_for_opset(exported: Exported) -> None:
    # Weights in a second file would be left behind when the first one is copied.
    model = onnx.load(exported.path, load_external_data=False)
    assert [path.name for path in exported.path.parent.iterdir()] == ["model.onnx"]
    assert all(part.data_location == onnx.TensorProto.DEFAULT for part in model.graph.initializer)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 20


def test_it_tells_nothing_of_the_machine(exported: Exported) -> None:
    # The exporter writes stack traces with file names into every node: another folder would be another file.
    content = exported.path.read_bytes()
    for word in (str(Path(__file__).parent), "site-packages", "stack_trace", "pkg.torch"):
        assert word.encode() not in content


def test_the_same_model_gives_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    if exported.task == "classification":
        assert make(exported.task, tmp_path / "again.onnx").path.read_bytes() == exported.path.read_bytes()
