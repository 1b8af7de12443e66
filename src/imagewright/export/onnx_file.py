"""One ONNX file with everything between uint8 pictures and calibrated probabilities, the same bytes each time."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import onnx
import torch

from imagewright.models.network import Predictor

INPUT = "images"
OUTPUT = "probabilities"


def write_onnx(predictor: Predictor, shape: tuple[int, int, int], opset: int, path: Path) -> None:
    """Export a predictor: `images` uint8 N × H × W × C in, `probabilities` float32 N (× H × W) × classes out.

    Args:
        predictor: in evaluation mode, on the CPU.
        shape: height, width and channels; the number of pictures stays free.
        opset: ONNX operator set.
        path: the file to write; weights are inside it, not beside it.
    """
    example = torch.zeros((2, *shape), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            predictor,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    strip_metadata(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def strip_metadata(model: onnx.ModelProto) -> None:
    """Take out what differs from machine to machine: the exporter notes stack traces with file names in every node."""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
