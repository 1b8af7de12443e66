"""What runs an exported file: ONNX Runtime, or OpenVINO where it is asked for."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from imagewright.errors import ConfigError

OPENVINO = "openvino"
"""The runtime that is there only for those who install and judge it."""
TOLD = 600
Engine = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""N × H × W × C uint8 to N (× H × W) × classes float32; from any thread."""


def open_engine(path: Path, runtime: str, threads: int) -> Engine:
    """Load an exported file.

    Args:
        path: of the ONNX file; it has one input and one output.
        runtime: "onnx" and "int8" run in ONNX Runtime, "openvino" in OpenVINO.
        threads: CPU threads of a step.

    Raises:
        ConfigError: OpenVINO is asked for and not installed, or the engine does not take the file.
    """
    opened = _openvino if runtime == OPENVINO else _onnx
    try:
        return opened(path, threads)
    except ConfigError:
        raise
    except Exception as error:  # each engine has its own kinds
        why = " ".join(str(error).split())[:TOLD]
        raise ConfigError(f"{path}: the runtime {runtime} does not take it: {why}", "take another runtime") from error


def _onnx(path: Path, threads: int) -> Engine:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait for the next step must not take the time of those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given, wanted = session.get_inputs()[0].name, session.get_outputs()[0].name

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return session.run([wanted], {given: images})[0]  # type: ignore[no-any-return]

    return answer


def _openvino(path: Path, threads: int) -> Engine:
    # It would tell its makers that it is used.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the runtime openvino is asked for, and OpenVINO is not installed",
            "pip install 'imagewright[openvino]', or take the runtime onnx",
        ) from error
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Some processors would be given 16 bits.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    # Requests of several threads wait for each other without end when their shapes are new (seen with 2026.4.1, in one
    # of 24 starts on two cores). With this hint they would run one after the other in any case.
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    turn = threading.Lock()

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with turn:
            return request.infer([images])[0]  # type: ignore[no-any-return]

    return answer
