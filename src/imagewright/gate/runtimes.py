"""The ways in which a model can answer, behind one interface: pictures in, probabilities out."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from imagewright.engines import Engine, open_engine
from imagewright.files import read_json
from imagewright.models.network import load_predictor


def open_runtimes(selected: Path, exported: Path, threads: int, judged: Collection[str]) -> dict[str, Engine]:
    """PyTorch, which is the reference, and the exported files in each runtime that is to be judged.

    Args:
        selected: what `select` wrote.
        exported: what `export` wrote.
        threads: CPU threads of each runtime.
        judged: the names of runtimes.

    Raises:
        ConfigError: a runtime is not installed, or does not take its file.
    """
    runtimes: dict[str, Engine] = {"torch": _torch(selected, threads)}
    for name, file in read_json(exported / "export.json")["runtimes"].items():
        if name in judged:
            runtimes[name] = open_engine(exported / file, name, threads)
    return runtimes


def _torch(selected: Path, threads: int) -> Engine:
    torch.set_num_threads(threads)
    predictor = load_predictor(selected)

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return predictor(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]

    return answer
