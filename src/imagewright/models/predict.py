"""Run a module over stored pictures, batch by batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

Images = NDArray[np.uint8]

CLOSE = 1e-3
"""Where the two best probabilities are no further apart than this, another device or batch may decide otherwise."""


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def full_precision() -> Iterator[None]:
    """Let convolutions use all 24 bits of their inputs.

    NVIDIA's GPUs use 11 by default (TF32), which moves probabilities by 1e-3: what was measured there would not be what
    a CPU serves.
    """
    now = torch.backends.cudnn
    with now.flags(
        enabled=now.enabled, benchmark=now.benchmark, deterministic=now.deterministic, allow_tf32=False
    ):  # fmt: skip
        yield


def undecided(probabilities: NDArray[np.float32]) -> int:
    """How many decisions are so close that another device may turn them.

    Args:
        probabilities: … × C.
    """
    second, best = np.moveaxis(np.partition(probabilities, -2, axis=-1)[..., -2:], -1, 0)
    return int((best - second <= CLOSE).sum())


def predict_batches(
    module: nn.Module, images: Images, batch_size: int, title: str | None = None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Run `module` over N × H × W × C uint8 pictures.

    Args:
        module: a `Network` or a `Predictor`; moved to the GPU where there is one.
        images: may be a memory map.
        batch_size: pictures a step.
        title: of the progress bar; none for no bar.

    Yields:
        A slice of the pictures, and the module's output for it.
    """
    device = best_device()
    module = module.to(device).eval()
    starts = range(0, len(images), batch_size)
    for start in tqdm(starts, desc=title, unit="batch", disable=True if title is None else None):
        part = slice(start, min(start + batch_size, len(images)))
        with torch.inference_mode(), full_precision():
            output = module(torch.from_numpy(np.array(images[part])).to(device)).float().cpu().numpy()
        yield part, output
