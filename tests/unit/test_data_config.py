"""What a data config may say: a mistake is refused before anything is read."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from public_data import CONFIGS, shipped
from pydantic import ValidationError

from imagewright.config.data import DataConfig, IndexSection

PETS = {"task": "classification", "source": {"kind": "folder"}, "layout": {"kind": "class_folders"}}
CELLS = {
    "task": "segmentation",
    "source": {"kind": "folder"},
    "layout": {"kind": "image_mask_pairs"},
    "classes": {"background": 0, "cell": 1},
}


def config(base: dict[str, Any], **values: Any) -> DataConfig:
    return DataConfig.model_validate(base | values)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_survives_being_written_as_a_section(path: Path) -> None:
    # Keys of a section are sorted; classes must not be, since their order is that of the model's outputs.
    section = shipped(path.stem).index_section
    again = IndexSection.model_validate(yaml.safe_load(section.to_yaml()))
    assert again == section
    assert again.classes == shipped(path.stem).class_names


def test_the_first_class_of_a_mask_stays_the_first() -> None:
    section = config(CELLS, classes={"tissue": 0, "dirt": [7, 3], "cell": 1}).index_section
    again = IndexSection.model_validate(yaml.safe_load(section.to_yaml()))
    assert (again.classes, again.mask_values) == (["tissue", "dirt", "cell"], [[0], [7, 3], [1]])


def test_names_are_classes() -> None:
    assert config(PETS, names={"n2": "dog", "n1": "cat"}).class_names == ["n2", "n1"]
    assert config(PETS, names={"n2": "dog"}, classes=["n1", "n2"]).class_names == ["n1", "n2"]
    assert config(PETS).class_names is None


@pytest.mark.parametrize(
    ("base", "values", "words"),
    [
        (PETS, {"names": {"n3": "bird"}, "classes": ["n1", "n2"]}, "names names classes that are not declared: n3"),
        (PETS, {"names": {"n1": "cat"}}, "at least two classes"),
        (CELLS, {"names": {"cell": "Cell"}}, "names is for classification"),
        (CELLS, {"classes": {"background": 0, "cell": [1, 1]}}, "stands here twice"),
        (CELLS, {"classes": {"background": 0, "cell": [1, 2], "dirt": 2}}, "stands here twice"),
        (CELLS, {"classes": {"background": 0, "cell": []}}, "at least 1 item"),
        (CELLS, {"classes": {"background": 0, "cell": [65536]}}, "65535"),
        (CELLS, {"max_ignored": 1.1}, "less than or equal to 1"),
        (CELLS, {"layout": {"kind": "bcss", "tile": 4}}, "greater than or equal to 8"),
        (PETS, {"depth": 7}, "greater than or equal to 8"),
        (PETS, {"source": {"kind": "folder", "page": "a page"}}, "pattern"),
    ],
)
def test_what_is_refused(base: dict[str, Any], values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(base, **values)
