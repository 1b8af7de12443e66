"""What a model is measured with: full precision, and the decisions that even so are open."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

CLOSE = 1e-3
"""Where the two best probabilities are no further apart than this, another device or batch may decide otherwise."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Let convolutions use all 24 bits of their inputs.

    NVIDIA's GPUs use 11 by default (TF32), which moves probabilities by 1e-3: what was measured there would not be what
    a CPU serves.
    """
    now = torch.backends.cudnn
    with now.flags(now.enabled, now.benchmark, deterministic=now.deterministic, allow_tf32=False):
        yield


def undecided(probabilities: NDArray[np.float32]) -> int:
    """How many decisions are so close that another device may turn them.

    Args:
        probabilities: … × C.
    """
    second, best = np.moveaxis(np.partition(probabilities, -2, axis=-1)[..., -2:], -1, 0)
    return int((best - second <= CLOSE).sum())
