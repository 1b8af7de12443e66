"""Run a module over stored pictures, batch by batch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from imagewright.models.precision import full_precision

Images = NDArray[np.uint8]


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
