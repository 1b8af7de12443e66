"""The index as a whole: what the readers know of groups, names and ignored masks reaches the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from public_data import noise, save, shipped, write

from imagewright.config.data import DataConfig
from imagewright.errors import DataError
from imagewright.files import read_json
from imagewright.index.build import build_index
from imagewright.index.contact import write_contact_sheet
from imagewright.index.readers import open_reader

QUARTERS = {"val": 0.25, "test": 0.25}
PATIENTS = [f"TCGA-A{number}-B{number:03d}" for number in range(8)]


def build(config: DataConfig, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    (folder / "index").mkdir()
    build_index(config.index_section, folder / "raw", folder / "index", folder / "evidence", 1)
    assert (folder / "index/contact.png").stat().st_size > 0
    return pd.read_parquet(folder / "index/index.parquet"), read_json(folder / "index/report.json")


def regions(raw: Path) -> None:
    """Eight patients with a region of 32×40 pixels; the first one's is all outside but for its last tile."""
    values = np.array([1, 2, 3, 4, 5])
    for number, patient in enumerate(PATIENTS):
        mask = np.random.default_rng(number).choice(values, (32, 40)).astype(np.uint8)
        if number == 0:
            mask[:, :24] = 0
        save(raw / f"images/{patient}-DX1_xmin.png", noise(32, 40, 3, seed=number))
        save(raw / f"masks/{patient}-DX1_xmin.png", mask)


def test_regions_of_tissue(tmp_path: Path) -> None:
    regions(tmp_path / "raw")
    rows, report = build(shipped("tissue-regions", layout={"kind": "bcss", "tile": 16}, split=QUARTERS), tmp_path)
    assert rows.groupby("group")["split"].nunique().max() == 1 and set(rows["group"]) == set(PATIENTS)
    assert len(rows) == 8 * 6 - 2 and set(rows["width"]) == {16}
    left = report["left_out"]["ignored"]
    assert [entry["path"] for entry in left] == [f"images/{PATIENTS[0]}-DX1_xmin.png#0,{top},16,16" for top in (0, 16)]
    assert report["classes"][:3] == ["outside_roi", "tumor", "stroma"]
    assert report["mask_values"][3] == [3, 10, 11]


def test_a_single_patient_to_test_on(tmp_path: Path) -> None:
    regions(tmp_path / "raw")
    with pytest.raises(DataError, match="the test split has 6 images, all of group 'TCGA-A6-B006'"):
        build(shipped("tissue-regions", layout={"kind": "bcss", "tile": 16}), tmp_path)


def test_a_pattern_stands_before_the_layouts_group(tmp_path: Path) -> None:
    regions(tmp_path / "raw")
    split = {"group": r"B(\d)"}
    rows, _ = build(shipped("tissue-regions", layout={"kind": "bcss", "tile": 16}, split=QUARTERS), tmp_path)
    assert rows["group"].nunique() == 8
    with pytest.raises(DataError, match="all 46 images left for test belong to '0'"):
        build(shipped("tissue-regions", layout={"kind": "bcss", "tile": 16}, split=split), made(tmp_path / "again"))


def made(folder: Path) -> Path:
    folder.mkdir()
    (folder / "raw").symlink_to(folder.parent / "raw")
    return folder


def test_given_splits_that_tear_a_patient(tmp_path: Path) -> None:
    # Test is missing and would be cut from train: what is wrong is what was given, and that is named.
    for split in ("train", "val"):
        for number in range(4):
            save(tmp_path / f"raw/{split}/{PATIENTS[0]}-DX1_{number}.png", noise(8, 8, 3, seed=number))
            save(tmp_path / f"raw/{split}_mask/{PATIENTS[0]}-DX1_{number}.png", noise(8, 8, seed=number) % 2 + 1)
    with pytest.raises(DataError, match=rf"first: '{PATIENTS[0]}' is in train, val\n  move each group"):
        build(shipped("tissue"), tmp_path)


def test_names_reach_the_report(tmp_path: Path) -> None:
    rows = ["path,label"]
    for number in range(12):
        save(tmp_path / f"raw/{number}.png", noise(8, 8, 3, seed=number))
        rows.append(f"{number}.png,{('n1', 'Big_Dog')[number % 2]}")
    write(tmp_path / "raw/manifest.csv", rows)
    config = DataConfig.model_validate(
        {
            "task": "classification",
            "source": {"kind": "folder"},
            "layout": {"kind": "csv_manifest"},
            "names": {"n2": "big dog", "n1": "cat"},
            "split": {"val": 0.25, "test": 0.25},
        }
    )
    index, report = build(config, tmp_path)
    assert index["label"].value_counts().to_dict() == {"n1": 6, "n2": 6}
    assert (report["classes"], report["names"]) == (["n2", "n1"], {"n2": "big dog", "n1": "cat"})


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_that_breaks_before_it_is_drawn_is_named(tmp_path: Path, kind: str) -> None:
    save(tmp_path / "images/1.png", noise(8, 8))
    save(tmp_path / "masks/1.png", noise(8, 8) % 3)
    (tmp_path / f"{kind}/1.png").write_bytes(b"a note")
    config = shipped("brain")
    rows = pd.DataFrame(
        {"path": ["images/1.png"], "mask": ["masks/1.png"], "mask_counts": ["[1, 1, 1]"], "split": ["train"]}
    )
    with pytest.raises(DataError, match=f"^{kind}/1.png: the content is no picture"):
        write_contact_sheet(
            open_reader(config.layout, tmp_path), rows, ["background"], config.index_section, tmp_path / "contact.png"
        )


def test_labels_where_masks_are_needed(tmp_path: Path) -> None:
    save(tmp_path / "raw/cat/1.png", noise(8, 8))
    config = shipped("brain", layout={"kind": "class_folders"})
    with pytest.raises(DataError, match=r"cat/1.png: the layout gives it no mask, which segmentation needs"):
        build(config, tmp_path)
