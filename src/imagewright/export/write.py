"""Write the servable folder."""

from pathlib import Path

from imagewright.config.export import ExportConfig
from imagewright.export.int8 import write_int8
from imagewright.export.onnx_file import INPUT, OUTPUT, write_onnx
from imagewright.files import read_json, sha256, write_json
from imagewright.models.network import load_predictor
from imagewright.tensors.dataset import TensorSplit

COPIED = ("task", "classes", "names", "ignore", "model", "normalisation", "pretrained", "temperature")
"""What `selection.json` says of the model, and `export.json` after it."""


def export_model(config: ExportConfig, selected: Path, tensors: Path, out: Path) -> None:
    """Write `model.onnx`, `model.int8.onnx`, and `export.json`, which says what they take and give.

    Args:
        config: operator set and quantisation.
        selected: what `select` wrote.
        tensors: what `tensors` wrote; INT8 ranges are measured on its train split.
        out: the folder to write to.
    """
    selection = read_json(selected / "selection.json")
    form, spec = selection["input"], selection["model"]
    shape = (form["height"], form["width"], spec["channels"])
    write_onnx(load_predictor(selected), shape, config.opset, out / "model.onnx")
    train = TensorSplit(tensors, "train")
    count = write_int8(out / "model.onnx", train.images, config.int8, out / "model.int8.onnx")
    runtimes = {"onnx": "model.onnx", "int8": "model.int8.onnx", "openvino": "model.onnx"}
    names = list(dict.fromkeys(runtimes.values()))
    write_json(
        out / "export.json",
        {
            **{key: selection[key] for key in COPIED},
            "input": {**form, "max_pixels": selection["max_pixels"], "tensor": INPUT},
            "output": {"tensor": OUTPUT},
            "opset": config.opset,
            "runtimes": runtimes,
            "int8": {**config.int8.to_dict(), "images": count, "seen": train.sha256},
            "sha256": {name: sha256(out / name) for name in names},
            "bytes": {name: (out / name).stat().st_size for name in names},
        },
    )
