"""The ways in which a model can answer, behind one interface: pictures in, probabilities out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from imagewright.errors import EvidenceError
from imagewright.files import read_json, sha256
from imagewright.models.network import load_predictor

Runtime = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""N × H × W × C uint8 to N (× H × W) × classes float32."""


def open_runtimes(selected: Path, exported: Path, threads: int) -> dict[str, Runtime]:
    """PyTorch, which is the reference, and each ONNX file of the exported folder.

    Args:
        selected: what `select` wrote.
        exported: what `export` wrote; every file is compared with the hash that `export.json` has of it.
        threads: CPU threads of each runtime.

    Raises:
        EvidenceError: a file is not the one that was exported.
    """
    record = read_json(exported / "export.json")
    for name, expected in record["sha256"].items():
        if sha256(exported / name) != expected:
            raise EvidenceError(
                f"{exported / name}: this is not the file that was exported", "delete it and run snakemake again"
            )
    runtimes: dict[str, Runtime] = {"torch": _torch(selected, threads)}
    for name, file in record["runtimes"].items():
        runtimes[name] = _onnx(exported / file, threads)
    return runtimes


def _torch(selected: Path, threads: int) -> Runtime:
    torch.set_num_threads(threads)
    predictor = load_predictor(selected)

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return predictor(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]

    return answer


def _onnx(path: Path, threads: int) -> Runtime:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tensor = session.get_inputs()[0].name

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return session.run(None, {tensor: images})[0]  # type: ignore[no-any-return]

    return answer
