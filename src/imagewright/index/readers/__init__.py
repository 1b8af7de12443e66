"""Layouts of raw data: one file a layout, one small interface for all.

A reader lists samples and gives the bytes of one. Whether the bytes are a picture is for `imagewright.index.inspect` to
find out. A reader is sent to every worker process, so it holds paths and no data.
"""

from collections.abc import Sequence
from pathlib import Path

from imagewright.config import layout as layouts
from imagewright.config.layout import Layout
from imagewright.imaging import MAX_PIXELS
from imagewright.index.readers.base import Reader, Sample
from imagewright.index.readers.bcss import open_bcss
from imagewright.index.readers.class_folders import ClassFolderReader
from imagewright.index.readers.csv_manifest import CsvManifestReader
from imagewright.index.readers.fer2013 import EMOTIONS, open_fer2013
from imagewright.index.readers.gtsrb import open_gtsrb
from imagewright.index.readers.image_mask_pairs import ImageMaskPairReader
from imagewright.index.readers.stanford_dogs import ID, open_stanford_dogs

__all__ = ["Reader", "Sample", "open_reader", "published_order"]


def open_reader(layout: Layout, raw: Path, max_pixels: int = MAX_PIXELS) -> Reader:
    """The reader of a layout, on the folder `raw`.

    Args:
        layout: of the data config.
        raw: `data/raw/<data>`.
        max_pixels: refuse larger pictures where a reader itself has to decode.

    Raises:
        DataError: a public data set has several forms, and none or more than one of them is there.
    """
    match layout:
        case layouts.ClassFolders():
            return ClassFolderReader(raw)
        case layouts.ImageMaskPairs():
            return ImageMaskPairReader(raw, layout.images, layout.masks)
        case layouts.CsvManifest():
            return CsvManifestReader(raw, layout.file)
        case layouts.Fer2013():
            return open_fer2013(raw)
        case layouts.Gtsrb():
            return open_gtsrb(raw)
        case layouts.StanfordDogs():
            return open_stanford_dogs(raw)
        case layouts.Bcss():
            return open_bcss(raw, layout.tile, layout.stride or layout.tile, max_pixels)


def published_order(layout: Layout, classes: Sequence[str]) -> list[str]:
    """The classes in the order of the numbers that a public data set gives them; else as they are.

    A class that the data set does not know is left out.
    """
    match layout:
        case layouts.Fer2013():
            return [name for name in EMOTIONS if name in classes]
        case layouts.Gtsrb():
            return sorted(filter(str.isdecimal, classes), key=int)
        case layouts.StanfordDogs():
            return sorted(filter(ID.fullmatch, classes))
    return list(classes)
