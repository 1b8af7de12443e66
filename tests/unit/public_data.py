"""Tiny data sets in the exact layouts of the public ones, and the data configs that are shipped for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from imagewright.config.data import DataConfig
from imagewright.index.classes import name_by_class, resolve_classes
from imagewright.index.readers import Sample, open_reader

CONFIGS = Path(__file__).parents[2] / "config/data"


def shipped(name: str, **changes: Any) -> DataConfig:
    """A data config of `config/data/`, with other values where a tiny data set needs them."""
    return DataConfig.model_validate(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) | changes)


def named_samples(name: str, raw: Path) -> tuple[list[str], list[Sample]]:
    """Classes and samples as `index` sees them."""
    config = shipped(name)
    samples = name_by_class(open_reader(config.layout, raw).samples(), config.class_names, config.names)
    return resolve_classes(samples, config.class_names, config.names), samples


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random pixels, uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: NDArray[Any]) -> None:
    """Write a picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write(path: Path, lines: Sequence[str], end: str = "\n") -> None:
    """Write a table, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(end.join([*lines, ""]).encode())
