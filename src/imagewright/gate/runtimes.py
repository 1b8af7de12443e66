"""The ways in which a model can answer, behind one interface: pictures in, probabilities out."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from imagewright.engines import Engine, open_engine
from imagewright.errors import EvidenceError
from imagewright.files import read_json, sha256
from imagewright.models.network import load_predictor


def open_runtimes(selected: Path, exported: Path, threads: int, judged: Collection[str]) -> dict[str, Engine]:
    """PyTorch, which is the reference, and the exported files in each runtime that is to be judged.

    Args:
        selected: what `select` wrote.
        exported: what `export` wrote; every file is compared with the hash that `export.json` has of it.
        threads: CPU threads of each runtime.
        judged: the names of runtimes.

    Raises:
        ConfigError: a runtime is not installed, or does not take its file.
        EvidenceError: a file is not the one that was exported.
    """
    record = read_json(exported / "export.json")
    for name, expected in record["sha256"].items():
        if sha256(exported / name) != expected:
            raise EvidenceError(
                f"{exported / name}: this is not the file that was exported", "delete it and run snakemake again"
            )
    runtimes: dict[str, Engine] = {"torch": _torch(selected, threads)}
    for name, file in record["runtimes"].items():
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
