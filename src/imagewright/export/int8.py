"""Static quantisation: weights and activations in eight bits, ranges measured on train images."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from imagewright.config.export import Int8
from imagewright.export.onnx_file import INPUT, strip_metadata

BATCH = 16
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class TrainImages(CalibrationDataReader):
    """Hands a seeded choice of train images to the calibration, in batches."""

    def __init__(self, images: NDArray[np.uint8], count: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.choice(len(images), min(count, len(images)), replace=False))
        self.images = images
        self.chosen = chosen
        self._batches: Iterator[NDArray[np.int64]] = iter(
            [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, N × H × W × C uint8, or None at the end."""
        positions = next(self._batches, None)
        return None if positions is None else {INPUT: np.asarray(self.images[positions])}


def write_int8(source: Path, images: NDArray[np.uint8], config: Int8, path: Path) -> int:
    """Quantise `source` to `path`: QDQ format, weights per channel.

    Args:
        source: the float ONNX file.
        images: the train split.
        config: how many images, and how a range is found.
        path: the file to write.

    Returns:
        How many images the ranges were measured on.
    """
    logging.getLogger().setLevel(logging.ERROR)
    reader = TrainImages(images, config.images, config.seed)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        nodes = onnx.load(prepared, load_external_data=False).graph.node
        quantize_static(
            str(prepared),
            str(path),
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=METHODS[config.method],
            # Scaling and normalising come before the first convolution, softmax after the last layer: cheap in
            # float, and the place where eight bits would hurt.
            nodes_to_exclude=_outside_the_backbone(nodes),
        )
    model = onnx.load(path)
    strip_metadata(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return len(reader.chosen)


def _outside_the_backbone(nodes: Any) -> list[str]:
    """Names of the nodes before the first convolution and from the last softmax's scaling on."""
    heavy = [
        position for position, node in enumerate(nodes) if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
    ]
    if not heavy:
        return [node.name for node in nodes]
    return [node.name for position, node in enumerate(nodes) if position < heavy[0] or position > heavy[-1]]
