"""Write the tensors of an index: shard by shard, across processes, in bounded memory."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm import tqdm

from imagewright.config.tensors import TensorsSection
from imagewright.errors import naming
from imagewright.files import read_json, sha256, write_json
from imagewright.imaging import IGNORED, load_image, load_mask_values, resize_mask
from imagewright.index.readers import Reader, open_reader
from imagewright.tensors.verify import check_kept, verify_tensors

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Encoder:
    """Turns one row of the index into arrays; sent to every worker process.

    Attributes:
        reader: gives the bytes.
        section: form of the arrays, and the classes.
        classes: in the order of the model's outputs.
    """

    reader: Reader
    section: TensorsSection
    classes: tuple[str, ...]

    def image(self, row: Any) -> NDArray[np.uint8]:
        """Height × width × channels, uint8."""
        with naming(row.path):
            return load_image(self.reader.read(row.path), self.section.input, self.section.max_pixels)

    def target(self, row: Any) -> NDArray[np.uint8] | int:
        """A mask of class indices, height × width, uint8; or a class index."""
        if self.section.task == "classification":
            return self._index_of(row.label)
        with naming(row.mask):
            values = load_mask_values(self.reader.read(row.mask), self.section.max_pixels)
        indices = np.full(values.shape, IGNORED, np.uint8)
        for name, of_class in zip(self.section.classes or (), self.section.mask_values or (), strict=True):
            indices[np.isin(values, of_class)] = self._index_of(name)
        return resize_mask(indices, self.section.input, outside=IGNORED)

    def _index_of(self, name: str) -> int:
        return IGNORED if name in self.section.ignore else self.classes.index(name)


@dataclass(frozen=True)
class ShardSums:
    """What a shard adds to the statistics of its split, in whole numbers: sums do not depend on their order."""

    pixels: int
    total: NDArray[np.int64]
    squares: NDArray[np.int64]
    targets: NDArray[np.int64]


def write_tensors(section: TensorsSection, raw: Path, index: Path, out: Path, workers: int) -> None:
    """Write `{train,val,test}.{images,targets}.npy` and `meta.json`, then read some of it back from the raw files.

    Images are N × H × W × C uint8. Targets are class indices: N int64 (classification) or N × H × W uint8
    (segmentation), 255 where a pixel is to be ignored.

    Args:
        section: form and classes.
        raw: `data/raw/<data>`.
        index: what `index` wrote.
        out: the folder to write to.
        workers: processes; the result does not depend on it.

    Raises:
        DataError: a file can no longer be decoded, or a class of the masks is gone at the stored size.
        EvidenceError: what was stored is not what the raw files hold.
    """
    report = read_json(index / "report.json")
    rows = pd.read_parquet(index / "index.parquet")
    encoder = Encoder(open_reader(section.layout, raw, section.max_pixels), section, tuple(report["classes"]))
    splits: dict[str, Any] = {}
    sums: list[ShardSums] = []
    with ProcessPoolExecutor(workers) as pool, tqdm(total=len(rows), desc="tensors", unit="img", disable=None) as bar:
        for split in SPLITS:
            part = rows[rows["split"] == split].reset_index(drop=True)
            images, targets = _allocate(section, len(part), out, split)
            shards = list(_shards(part, section.tensors.shard))
            jobs = [pool.submit(_write_shard, encoder, shard, start, images, targets) for start, shard in shards]
            found = []
            for job, (_, shard) in zip(jobs, shards, strict=True):
                found.append(job.result())
                bar.update(len(shard))
            if split == "train":
                sums = found
            splits[split] = {
                "images": len(part),
                "targets": _class_counts(found, encoder.classes),
                "sha256": split_sha256(images, targets),
            }
    verify_tensors(encoder, rows, out)
    if section.task == "segmentation":
        check_kept(encoder, rows, {split: facts["targets"] for split, facts in splits.items()})
    mean, std = _mean_and_std(sums)
    meta = {
        "task": section.task,
        "classes": report["classes"],
        "names": report["names"],
        "ignore": section.ignore,
        "input": section.input.to_dict(),
        "max_pixels": section.max_pixels,
        "mean": mean,
        "std": std,
        "splits": splits,
    }
    write_json(out / "meta.json", meta)


def split_sha256(images: Path, targets: Path) -> str:
    """One hash of a split's two files: what a loader read can be told apart from what it should have read."""
    return hashlib.sha256(f"{sha256(images)}{sha256(targets)}".encode()).hexdigest()


def _allocate(section: TensorsSection, count: int, out: Path, split: str) -> tuple[Path, Path]:
    form = section.tensors
    images, targets = out / f"{split}.images.npy", out / f"{split}.targets.npy"
    open_memmap(images, "w+", np.uint8, (count, form.height, form.width, form.channels))
    if section.task == "classification":
        open_memmap(targets, "w+", np.int64, (count,))
    else:
        open_memmap(targets, "w+", np.uint8, (count, form.height, form.width))
    return images, targets


def _shards(rows: pd.DataFrame, size: int) -> Iterator[tuple[int, pd.DataFrame]]:
    for start in range(0, len(rows), size):
        yield start, rows.iloc[start : start + size]


def _write_shard(encoder: Encoder, rows: pd.DataFrame, start: int, images: Path, targets: Path) -> ShardSums:
    stored_images = open_memmap(images, "r+")
    stored_targets = open_memmap(targets, "r+")
    channels = stored_images.shape[-1]
    total, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    bins = max(len(encoder.classes), IGNORED + 1)
    counts = np.zeros(bins, np.int64)
    for position, row in enumerate(rows.itertuples(), start):
        image, target = encoder.image(row), encoder.target(row)
        stored_images[position], stored_targets[position] = image, target
        flat = image.reshape(-1, channels).astype(np.int64)
        total += flat.sum(axis=0)
        squares += (flat**2).sum(axis=0)
        counts += np.bincount(np.ravel(target), minlength=bins)
    stored_images.flush()
    stored_targets.flush()
    return ShardSums(len(rows) * int(np.prod(stored_images.shape[1:3])), total, squares, counts)


def _class_counts(sums: list[ShardSums], classes: tuple[str, ...]) -> dict[str, int]:
    counts = np.sum([part.targets for part in sums], axis=0)
    return {name: int(counts[position]) for position, name in enumerate(classes)}


def _mean_and_std(sums: list[ShardSums]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel on a scale from 0 to 1; a flat channel gets 1, not 0."""
    pixels = sum(part.pixels for part in sums)
    mean = np.sum([part.total for part in sums], axis=0) / pixels
    variance = np.sum([part.squares for part in sums], axis=0) / pixels - mean**2
    std = np.sqrt(np.maximum(variance, 0)) / 255
    return (mean / 255).tolist(), np.where(std > 1e-6, std, 1.0).tolist()
