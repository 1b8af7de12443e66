"""Stored tensors as a PyTorch dataset: a batch is one gather from a memory map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from imagewright.files import read_json
from imagewright.imaging import IGNORED
from imagewright.tensors.write import split_sha256

Batch = tuple[Tensor, Tensor]
IGNORE_INDEX = -100
"""What an ignored pixel is in a batch: PyTorch's own default, and no class of a classifier, as 255 may be."""


class TensorSplit(Dataset[Batch]):
    """One split of stored tensors. `split[[3, 1, 2]]` is a batch of three.

    Attributes:
        images: N × H × W × C uint8, a memory map.
        targets: N int64, or N × H × W uint8.
        sha256: of the two files that are really open, for the record of what a loader read.
    """

    def __init__(self, folder: Path, split: str) -> None:
        paths = folder / f"{split}.images.npy", folder / f"{split}.targets.npy"
        self.images, self.targets = (np.load(path, mmap_mode="r") for path in paths)
        self.sha256 = split_sha256(*paths)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, positions: int | Sequence[int]) -> Batch:
        """Images N × H × W × C uint8 and targets N (× H × W) int64."""
        chosen = np.atleast_1d(np.asarray(positions))
        images = torch.from_numpy(self.images[chosen])
        targets = torch.from_numpy(self.targets[chosen].astype(np.int64))
        if targets.ndim > 1:
            targets[targets == IGNORED] = IGNORE_INDEX
        return images, targets


def read_meta(folder: Path) -> dict[str, Any]:
    """The `meta.json` of stored tensors."""
    return read_json(folder / "meta.json")  # type: ignore[no-any-return]
