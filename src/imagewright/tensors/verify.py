"""Read stored tensors back and compare them with the raw files, by a way of their own.

This is what notices augmentation in stored tensors, a picture at the wrong place, and masks that were scaled as if
they were light.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imagewright.errors import EvidenceError

if TYPE_CHECKING:
    from imagewright.tensors.write import Encoder


def verify_tensors(encoder: Encoder, rows: pd.DataFrame, out: Path) -> None:
    """Compare stored samples with the raw files, and every stored mask with what the index counted in its file.

    Args:
        encoder: decodes a row again; `encoder.section.tensors.verify` samples a split are compared, evenly spread.
        rows: the index.
        out: the folder that was written.

    Raises:
        EvidenceError: a sample differs.
    """
    for split, part in rows.groupby("split", sort=False):
        images = np.load(out / f"{split}.images.npy", mmap_mode="r")
        targets = np.load(out / f"{split}.targets.npy", mmap_mode="r")
        rows_of_split = list(part.itertuples())
        count = min(encoder.section.tensors.verify, len(part))
        for position in np.unique(np.linspace(0, len(part) - 1, count).astype(int)):
            row = rows_of_split[position]
            if not np.array_equal(images[position], encoder.image(row)):
                raise EvidenceError(
                    f"tensors, split {split}: what is stored for {row.path} is not what its file decodes to",
                    "nothing random and nothing but decoding and resizing may happen before the tensors are stored",
                )
            if not np.array_equal(targets[position], encoder.target(row)):
                raise EvidenceError(
                    f"tensors, split {split}: the target stored for {row.path} is not what the index says",
                    "the order of the rows or of the classes changed between `index` and `tensors`",
                )
        if encoder.section.task == "segmentation":
            _verify_masks(encoder, rows_of_split, targets, str(split))


def _verify_masks(encoder: Encoder, rows: list[Any], targets: NDArray[np.uint8], split: str) -> None:
    """A stored mask holds no class that its file does not hold: the index counted the raw values on its own."""
    for position, row in enumerate(rows):
        counted = json.loads(row.mask_counts)
        allowed = {i for i, name in enumerate(encoder.classes) if counted[i] and name not in encoder.section.ignore}
        if encoder.section.ignore or encoder.section.tensors.fit == "pad":
            allowed.add(255)
        stored = set(np.unique(targets[position]).tolist())
        if stored - allowed:
            names = sorted(encoder.classes[i] if i < len(encoder.classes) else str(i) for i in stored - allowed)
            raise EvidenceError(
                f"tensors, split {split}: the stored mask of {row.mask} holds {', '.join(names)}, its file does not",
                "a mask holds class values, not light: it must not be scaled, stretched or interpolated",
            )
