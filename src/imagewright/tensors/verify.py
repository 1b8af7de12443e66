"""Read stored tensors back and compare them with the raw files, by a way of their own.

This is what notices augmentation in stored tensors, a picture at the wrong place, and masks that were scaled as if
they were light.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imagewright.errors import DataError, EvidenceError
from imagewright.imaging import IGNORED, encode_png, load_image
from imagewright.index.readers import Sample

if TYPE_CHECKING:
    from imagewright.tensors.write import Encoder

KNOWN_SIDE = 8
NOT_LIGHT = "a mask holds class values, not light: it must not be scaled, stretched or interpolated"


def verify_tensors(encoder: Encoder, rows: pd.DataFrame, out: Path) -> None:
    """Compare stored samples with the raw files, and every stored mask with what the index counted in its file.

    Pictures are decoded as the server decodes them, so that what a model is trained on is what it is served. Masks
    whose answer is known go through the encoder, since the index reads masks with the same function.

    Args:
        encoder: made what is stored; `encoder.section.tensors.verify` samples a split are compared, evenly spread.
        rows: the index.
        out: the folder that was written.

    Raises:
        EvidenceError: a sample differs.
    """
    form, max_pixels = encoder.section.input, encoder.section.max_pixels
    if encoder.section.task == "segmentation":
        _verify_known_masks(encoder)
    for split, part in rows.groupby("split", sort=False):
        images = np.load(out / f"{split}.images.npy", mmap_mode="r")
        targets = np.load(out / f"{split}.targets.npy", mmap_mode="r")
        rows_of_split = list(part.itertuples())
        count = min(encoder.section.tensors.verify, len(part))
        for position in np.unique(np.linspace(0, len(part) - 1, count).astype(int)):
            row = rows_of_split[position]
            if not np.array_equal(images[position], load_image(encoder.reader.read(row.path), form, max_pixels)):
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


def check_kept(encoder: Encoder, rows: pd.DataFrame, stored: Mapping[str, Mapping[str, int]]) -> None:
    """Stop if a class that has pixels in the masks of a split has none left at the stored size.

    Metrics leave out a class that never occurs: a model that never finds it would score as if it were perfect.

    Args:
        encoder: made what is stored.
        rows: the index.
        stored: of each split, the stored pixels of each class.

    Raises:
        DataError: a class is gone.
    """
    for split, part in rows.groupby("split", sort=False):
        counted = np.sum([json.loads(counts) for counts in part["mask_counts"]], axis=0)
        for name, pixels in zip(encoder.classes, counted.tolist(), strict=True):
            kept = stored[str(split)][name]
            if pixels and not kept and name not in encoder.section.ignore:
                form = encoder.section.tensors
                raise DataError(
                    f"tensors, split {split}: class {name!r} has {pixels} pixels in the masks, but {kept} of them are "
                    f"left at {form.height}x{form.width}",
                    "take a larger height and width in config/tensors/"
                    + (", or fit: pad, which cuts nothing off" if form.fit == "crop" else ""),
                )


@dataclass(frozen=True)
class _KnownReader:
    """A reader whose every file is one known picture."""

    content: bytes

    def samples(self) -> list[Sample]:
        return []

    def read(self, path: str) -> bytes:
        return self.content


def _verify_known_masks(encoder: Encoder) -> None:
    """Masks of all classes, of each one alone and of all but one come out pixel for pixel, with every declared value.

    They are three times as large as what they become: nearest neighbour takes the middle of nine pixels, and no other
    way of resizing does. Scaling a mask by its own range shows in the masks that lack a class. Where pictures are
    padded, the border that is added on both sides has to be ignored.
    """
    names, values = encoder.section.classes or [], encoder.section.mask_values or []
    class_of = np.repeat(np.arange(len(names)), [len(of_class) for of_class in values])
    value_of = np.concatenate([np.array(of_class) for of_class in values])
    value_of = value_of.astype(np.min_scalar_type(value_of.max()))
    index_of = np.array([IGNORED if name in encoder.section.ignore else i for i, name in enumerate(names)])[class_of]
    side = max(KNOWN_SIDE, 2 * math.ceil(math.sqrt(len(value_of)) / 2))
    border = side // 2 if encoder.section.tensors.fit == "pad" else 0
    form = encoder.section.tensors.model_copy(update={"height": side, "width": side + 2 * border})
    section = encoder.section.model_copy(update={"tensors": form, "max_pixels": (3 * side) ** 2})
    generator = np.random.default_rng(0)
    for chosen in _choices(len(names)):
        positions = np.flatnonzero(np.isin(class_of, chosen))
        drawn = generator.choice(positions, (3 * side, 3 * side))
        drawn[1::3, 1::3] = np.resize(generator.permutation(positions), (side, side))
        known = replace(encoder, reader=_KnownReader(encode_png(value_of[drawn])), section=section)
        expected = np.pad(index_of[drawn[1::3, 1::3]], ((0, 0), (border, border)), constant_values=IGNORED)
        wrong = np.not_equal(known.target(SimpleNamespace(mask="known")), expected)
        if wrong.any():
            raise EvidenceError(
                f"tensors: {wrong.mean():.0%} of a known mask that holds {', '.join(names[i] for i in chosen[:5])} "
                "came out as another class",
                NOT_LIGHT,
            )


def _choices(count: int) -> Iterator[list[int]]:
    everything = list(range(count))
    yield everything
    for one in everything:
        yield [one]
        yield [other for other in everything if other != one]


def _verify_masks(encoder: Encoder, rows: list[Any], targets: NDArray[np.uint8], split: str) -> None:
    """A stored mask holds no class that its file does not hold: the index counted the raw values on its own."""
    for position, row in enumerate(rows):
        counted = json.loads(row.mask_counts)
        allowed = {i for i, name in enumerate(encoder.classes) if counted[i] and name not in encoder.section.ignore}
        if encoder.section.ignore or encoder.section.tensors.fit == "pad":
            allowed.add(IGNORED)
        stored = set(np.unique(targets[position]).tolist())
        if stored - allowed:
            names = sorted(encoder.classes[i] if i < len(encoder.classes) else str(i) for i in stored - allowed)
            if ignored := [name for name in names if name in encoder.section.ignore]:
                raise EvidenceError(
                    f"tensors, split {split}: the stored mask of {row.mask} holds {ignored[0]} as a class, "
                    "but it is to be ignored",
                    f"its pixels have to be stored as {IGNORED}, which counts in no loss and no metric",
                )
            raise EvidenceError(
                f"tensors, split {split}: the stored mask of {row.mask} holds {', '.join(names)}, its file does not",
                NOT_LIGHT,
            )
