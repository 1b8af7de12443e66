"""Where a bundle came from: each thing that can change a model changes its own fingerprint, and no other one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imagewright.bundle.fingerprints import bundle_id, fingerprints
from imagewright.config.bundle import BundleSection
from imagewright.files import read_json, write_json

SECTION = BundleSection(experiment="pets", data="pets", tensors="pets-gray28", trials=["default", "wide"], overrides=[])
NAMES = {"data", "split", "tensors", "config", "code", "environment", "weights", "onnx"}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundle") / "project"
    results = root / "results"
    rows = {
        "id": ["1", "2", "3"],
        "path": ["1.png", "2.png", "3.png"],
        "sha256": ["aa", "bb", "cc"],
        "label": ["cat", "dog", "cat"],
        "mask_sha256": ["", "", ""],
        "split": ["train", "val", "test"],
        "width": [5, 6, 7],
    }
    (results / "index/pets").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(results / "index/pets/index.parquet")
    splits = {name: {"sha256": f"{name}-hash", "images": 1} for name in ("train", "val", "test")}
    write_json(results / "tensors/pets-gray28/meta.json", {"splits": splits, "mean": [0.5]})
    write_json(results / "select/pets/selection.json", {"trial": "wide", "value": 0.9})
    write(results / "select/pets/model.safetensors", "weights")
    for trial in SECTION.trials:
        record = {"environment": {"threads": 2, "packages": {"torch": trial}}, "seconds": 5}
        write_json(results / f"train/pets/{trial}/trial.json", record)
    write_json(
        results / "export/pets/export.json",
        {"runtimes": {"onnx": "model.onnx"}, "sha256": {"model.onnx": "dd", "unused.onnx": "ee"}},
    )
    provenance = {"sections": {"train/pets/wide.yaml": "01", "gate/pets.yaml": "02"}, "code": {"train": "03"}}
    write_json(results / "resolve/provenance/pets.json", provenance)
    write(root / "requirements.lock", "torch==1\n")
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "project")


def marks(root: Path) -> dict[str, str]:
    return fingerprints(SECTION, root / "results", root / "requirements.lock")


def edit_json(path: str, *keys: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        value: Any = read_json(root / path)
        node = value
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = "changed"
        write_json(root / path, value)

    return edit


def edit_index(column: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = root / "results/index/pets/index.parquet"
        rows = pd.read_parquet(path)
        rows.loc[1, column] = 99 if column == "width" else "changed"
        rows.to_parquet(path)

    return edit


def append(path: str) -> Callable[[Path], None]:
    return lambda root: write(root / path, (root / path).read_text() + "x")


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (edit_index("sha256"), {"data"}),
        (edit_index("label"), {"data"}),
        (edit_index("mask_sha256"), {"data"}),
        (edit_index("split"), {"split"}),
        (edit_index("width"), set()),
        (edit_json("results/tensors/pets-gray28/meta.json", "splits", "val", "sha256"), {"tensors"}),
        (edit_json("results/resolve/provenance/pets.json", "sections", "train/pets/wide.yaml"), {"config"}),
        (edit_json("results/resolve/provenance/pets.json", "sections", "gate/pets.yaml"), {"config"}),
        (edit_json("results/resolve/provenance/pets.json", "code", "train"), {"code"}),
        (append("requirements.lock"), {"environment"}),
        # Of the trials, the one that was chosen.
        (edit_json("results/train/pets/wide/trial.json", "environment", "threads"), {"environment"}),
        (edit_json("results/train/pets/default/trial.json", "environment", "threads"), set()),
        (edit_json("results/train/pets/wide/trial.json", "seconds"), set()),
        (append("results/select/pets/model.safetensors"), {"weights"}),
        (edit_json("results/export/pets/export.json", "sha256", "model.onnx"), {"onnx"}),
        (edit_json("results/export/pets/export.json", "sha256", "unused.onnx"), set()),
    ],
)
def test_one_change_one_fingerprint(
    pristine: Path, root: Path, edit: Callable[[Path], None], changed: set[str]
) -> None:
    before = marks(pristine)
    edit(root)
    after = marks(root)
    assert set(before) == set(after) == NAMES
    assert {name for name in NAMES if before[name] != after[name]} == changed
    assert (bundle_id(before) != bundle_id(after)) is bool(changed)


def test_the_order_of_the_rows_does_not_matter(pristine: Path, root: Path) -> None:
    path = root / "results/index/pets/index.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path)
    assert marks(root) == marks(pristine)


def test_an_id_is_twelve_digits() -> None:
    assert len(bundle_id({"a": "b"})) == 12 and int(bundle_id({"a": "b"}), 16) >= 0
