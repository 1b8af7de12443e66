"""Look at every image once: is it what it claims to be, how large is it, and have we seen its pixels before?"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from imagewright.errors import DataError
from imagewright.imaging import FULL_DEPTH, load_mask_values, load_pixels
from imagewright.index.readers import Reader, Sample

CHUNK = 32


@dataclass(frozen=True)
class Inspected:
    """What a look at one sample found.

    Attributes:
        width, height: in pixels, as displayed.
        bytes: the size of the encoded picture.
        sha256: of the encoded picture.
        pixels: SHA-256 of the decoded pixels and their shape, equal for a picture saved in two lossless formats, also
            where one of them is grey and the other spells grey out as three equal channels or with an opaque alpha.
        mask_sha256: of the encoded mask, empty without one.
        mask_counts: JSON list, the mask's pixels of each declared class, in order; empty without a mask.
        problem: why the sample cannot be used; empty if it can.
        undeclared: JSON list of mask values that no class has.
        deepest: the largest value of a grey picture with more than 8 bits; -1 of any other.
    """

    width: int = 0
    height: int = 0
    bytes: int = 0
    sha256: str = ""
    pixels: str = ""
    mask_sha256: str = ""
    mask_counts: str = ""
    problem: str = ""
    undeclared: str = ""
    deepest: int = -1


def inspect_samples(
    reader: Reader,
    samples: Sequence[Sample],
    values: Sequence[Sequence[int]] | None,
    max_pixels: int,
    workers: int,
    depth: int = FULL_DEPTH,
) -> pd.DataFrame:
    """Inspect samples across processes, with a progress bar on a terminal.

    Args:
        reader: gives the bytes.
        samples: in order.
        values: the mask values of each class, in order (segmentation).
        max_pixels: refuse larger pictures.
        workers: processes.
        depth: refuse grey pictures whose values need more bits.

    Returns:
        A row a sample, in the same order: the fields of `Sample` and of `Inspected`.
    """
    look = partial(_inspect, reader, values, max_pixels, depth)
    with ProcessPoolExecutor(workers) as pool:
        found = list(
            tqdm(pool.map(look, samples, chunksize=CHUNK), total=len(samples), desc="index", unit="img", disable=None)
        )
    return pd.DataFrame([asdict(sample) | asdict(seen) for sample, seen in zip(samples, found, strict=True)])


def _inspect(
    reader: Reader, values: Sequence[Sequence[int]] | None, max_pixels: int, depth: int, sample: Sample
) -> Inspected:
    try:
        content = reader.read(sample.path)
        pixels = load_pixels(content, max_pixels, depth)
    except (DataError, OSError) as error:
        return Inspected(problem=error.problem if isinstance(error, DataError) else str(error))
    seen: dict[str, Any] = {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "pixels": _pixels_sha256(pixels),
        "deepest": int(pixels.max()) if pixels.dtype.itemsize > 1 else -1,
    }
    if sample.mask is None or values is None:
        return Inspected(**seen)
    try:
        content = reader.read(sample.mask)
        mask = load_mask_values(content, max_pixels)
    except (DataError, OSError) as error:
        reason = error.problem if isinstance(error, DataError) else str(error)
        return Inspected(**seen, problem=f"mask {sample.mask}: {reason}")
    if mask.shape != pixels.shape[:2]:
        return Inspected(
            **seen,
            problem=f"mask {sample.mask}: {mask.shape[1]}x{mask.shape[0]} pixels, "
            f"but its image is {pixels.shape[1]}x{pixels.shape[0]}",
        )
    there, counts = np.unique(mask, return_counts=True)
    count_of = dict(zip(there.tolist(), counts.tolist(), strict=True))
    undeclared = sorted(set(count_of).difference(*values))
    return Inspected(
        **seen,
        mask_sha256=hashlib.sha256(content).hexdigest(),
        mask_counts=json.dumps([sum(count_of.get(value, 0) for value in of_class) for of_class in values]),
        undeclared=json.dumps(undeclared) if undeclared else "",
    )


def _pixels_sha256(pixels: NDArray[np.generic]) -> str:
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and (pixels[..., -1] == 255).all():
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return hashlib.sha256(f"{pixels.shape}{pixels.dtype}".encode() + pixels.tobytes()).hexdigest()
