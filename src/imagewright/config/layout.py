"""How raw files are laid out: one section a layout, told apart by `layout.kind` in `config/data/`."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator

from imagewright.config.section import Section


class ClassFolders(Section):
    """One folder a class, with or without `train`, `val` and `test` folders above."""

    kind: Literal["class_folders"]


class ImageMaskPairs(Section):
    """A folder of images and a folder of masks, matched by the name without its ending."""

    kind: Literal["image_mask_pairs"]
    images: str = "images"
    masks: str = "masks"


class CsvManifest(Section):
    """A table with the columns path and label or mask, and perhaps split and group."""

    kind: Literal["csv_manifest"]
    file: str = "manifest.csv"

    @field_validator("file")
    @classmethod
    def _inside(cls, file: str) -> str:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("name a file below data/raw/<data>")
        return file


class Fer2013(Section):
    """FER2013: faces as rows of `fer2013.csv` or `icml_face_data.csv`, or as files in split and class folders."""

    kind: Literal["fer2013"]


class Gtsrb(Section):
    """German Traffic Sign Recognition Benchmark: the official folders, or Kaggle's."""

    kind: Literal["gtsrb"]


class StanfordDogs(Section):
    """Stanford Dogs: the official `Images/`, or Kaggle's `labels.csv` and `train/`."""

    kind: Literal["stanford_dogs"]


class Bcss(Section):
    """Breast Cancer Semantic Segmentation: whole regions, which are cut into tiles, or ready tiles.

    Attributes:
        tile: width and height of a tile, in pixels.
        stride: pixels from one tile to the next; by default a tile.
    """

    kind: Literal["bcss"]
    tile: Annotated[int, Field(ge=8, le=8192)] = 512
    stride: Annotated[int, Field(ge=1)] | None = None


Layout = Annotated[
    ClassFolders | ImageMaskPairs | CsvManifest | Fer2013 | Gtsrb | StanfordDogs | Bcss, Field(discriminator="kind")
]
