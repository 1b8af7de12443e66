"""Breast Cancer Semantic Segmentation (Amgad et al. 2019): whole regions, which are cut into tiles, or ready tiles.

A file is called after its slide, for example TCGA-A1-A0SK-DX1_xmin45749...: up to the third `-` it names the patient,
who is the group.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagewright.errors import DataError
from imagewright.imaging import encode_png, load_mask_values, load_pixels
from imagewright.index.readers.base import SPLITS, FileReader, Reader, Sample, subfolders, which_form
from imagewright.index.readers.image_mask_pairs import ImageMaskPairReader, matched_pairs

REGIONS = ("rgbs_colorNormalized", "images")
BOX = re.compile(r"(?P<path>.*)#(?P<left>\d+),(?P<top>\d+),(?P<width>\d+),(?P<height>\d+)", re.DOTALL)


def open_bcss(raw: Path, tile: int, stride: int, max_pixels: int) -> Reader:
    """The reader of the form that lies in `raw`.

    Args:
        raw: `data/raw/<data>`.
        tile: width and height of a tile, in pixels, where regions are cut.
        stride: pixels from one tile to the next.
        max_pixels: refuse larger regions.

    Raises:
        DataError: there is no form, or more than one.
    """
    forms = {f"{name}/": (raw / name).is_dir() for name in REGIONS}
    forms |= {"train_mask/": (raw / "train_mask").is_dir(), "train/images/": (raw / "train/images").is_dir()}
    match which_form(raw, forms):
        case "train_mask/" | "train/images/":
            return BcssTileReader(raw)
        case images:
            return BcssRegionReader(raw, images.rstrip("/"), tile, stride, max_pixels)


class BcssTileReader(FileReader):
    """Reads ready tiles: `train/` and `train_mask/`, or `train/images` and `train/masks`; so too `val` and `test`."""

    def samples(self) -> list[Sample]:
        """Every tile.

        Raises:
            DataError: a tile or a mask stands alone, or a name does not say the patient.
        """
        if (self.raw / "train/images").is_dir():
            found = ImageMaskPairReader(self.raw, "images", "masks").samples()
        else:
            found = [
                replace(pair, id=f"{folder.name}/{pair.id}", split=SPLITS[folder.name.lower()])
                for folder in subfolders(self.raw)
                if folder.name.lower() in SPLITS
                for pair in matched_pairs(self.raw, folder.name, f"{folder.name}_mask")
            ]
        return [replace(sample, group=_patient(sample.path)) for sample in found]


class BcssRegionReader:
    """Cuts regions into tiles; a sample's path is `images/x.png#left,top,width,height`.

    The last column and row of tiles are aligned to the edge. A region smaller than a tile is one tile.
    """

    def __init__(self, raw: Path, images: str, tile: int, stride: int, max_pixels: int) -> None:
        self.raw = raw
        self.images = images
        self.tile = tile
        self.stride = stride
        self.max_pixels = max_pixels

    def samples(self) -> list[Sample]:
        """Every tile of every region; a region that does not fit its mask is one sample, for `index` to reject.

        Raises:
            DataError: a region or a mask stands alone, or a name does not say the patient.
        """
        regions = matched_pairs(self.raw, self.images, "masks")
        return [tile for region in regions for tile in self._tiles(replace(region, group=_patient(region.path)))]

    def read(self, path: str) -> bytes:
        """A tile as PNG: an image's pixels, or a mask's values, which are no colours.

        Raises:
            DataError: the region is no picture, broken or too large.
        """
        match = BOX.fullmatch(path)
        if not match:
            return (self.raw / path).read_bytes()
        file = self.raw / match["path"]
        status = file.stat()
        load = _mask_region if match["path"].startswith("masks/") else _image_region
        region = load(file, (status.st_size, status.st_mtime_ns), self.max_pixels)
        left, top, width, height = (int(match[name]) for name in ("left", "top", "width", "height"))
        return encode_png(region[top : top + height, left : left + width])

    def _tiles(self, region: Sample) -> Iterator[Sample]:
        size = _size(self.raw / region.path)
        if size is None or size != _size(self.raw / str(region.mask)):
            yield region
            return
        width, height = (min(self.tile, side) for side in size)
        for top in _starts(size[1], height, self.stride):
            for left in _starts(size[0], width, self.stride):
                box = f"#{left},{top},{width},{height}"
                yield replace(region, id=region.id + box, path=region.path + box, mask=f"{region.mask}{box}")


def _starts(side: int, tile: int, stride: int) -> list[int]:
    return [*range(0, side - tile, stride), side - tile]


def _size(file: Path) -> tuple[int, int] | None:
    """Width and height from the header alone; none where there is no header."""
    try:
        with Image.open(file) as image:
            return image.size
    except Exception:  # a decoder may raise anything on broken content; `index` will say what it is
        return None


# A region has up to 50 million pixels and a hundred tiles: each process keeps the last one.
@lru_cache(maxsize=1)
def _image_region(file: Path, stamp: tuple[int, int], max_pixels: int) -> NDArray[np.uint8]:
    return load_pixels(file.read_bytes(), max_pixels)  # type: ignore[return-value]


@lru_cache(maxsize=1)
def _mask_region(file: Path, stamp: tuple[int, int], max_pixels: int) -> NDArray[np.uint8]:
    values = load_mask_values(file.read_bytes(), max_pixels)
    return values.astype(np.min_scalar_type(int(values.max())))


def _patient(path: str) -> str:
    parts = path.rpartition("/")[2].split("-")
    if len(parts) < 4:
        raise DataError(
            f"{path}: the name does not say the patient, as in TCGA-A1-A0SK-DX1_...",
            "give its name back, or use layout.kind image_mask_pairs with split.group",
        )
    return "-".join(parts[:3])
