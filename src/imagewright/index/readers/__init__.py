"""Layouts of raw data: one file a layout, one small interface for all.

A reader lists samples and gives the bytes of one. It decodes nothing: whether the bytes are a picture is for
`imagewright.index.inspect` to find out.
"""

from pathlib import Path

from imagewright.config.data import ClassFolders, ImageMaskPairs, Layout
from imagewright.index.readers.base import Reader, Sample
from imagewright.index.readers.class_folders import ClassFolderReader
from imagewright.index.readers.image_mask_pairs import ImageMaskPairReader

__all__ = ["Reader", "Sample", "open_reader"]


def open_reader(layout: Layout, raw: Path) -> Reader:
    """The reader of a layout, on the folder `raw`."""
    match layout:
        case ClassFolders():
            return ClassFolderReader(raw)
        case ImageMaskPairs():
            return ImageMaskPairReader(raw, layout.images, layout.masks)
