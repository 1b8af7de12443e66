"""Build the index of a data config: list, look, cut, check, write."""

from pathlib import Path
from typing import Any

import pandas as pd

from imagewright.config.data import IndexSection
from imagewright.errors import DataError
from imagewright.files import write_json
from imagewright.imaging import FULL_DEPTH
from imagewright.index import checks
from imagewright.index.classes import name_by_class, resolve_classes
from imagewright.index.contact import write_contact_sheet
from imagewright.index.inspect import inspect_samples
from imagewright.index.readers import open_reader, published_order
from imagewright.index.splits import assign_groups, cut_splits

COLUMNS = [
    "id", "path", "label", "mask", "group", "split", "width", "height", "bytes", "sha256", "pixels",
    "mask_sha256", "mask_counts",
]  # fmt: skip


def build_index(section: IndexSection, raw: Path, out: Path, evidence: Path, workers: int) -> None:
    """Write `index.parquet`, `report.json` and `contact.png`.

    Args:
        section: the data config without its source.
        raw: `data/raw/<data>`.
        out: the folder to write to.
        evidence: the folder for the lists behind a message, where a check stops the run.
        workers: processes to read with; the result does not depend on it.

    Raises:
        DataError: the data is not fit to train on; see `imagewright.index.checks`.
    """
    values = section.mask_values
    reader = open_reader(section.layout, raw, section.max_pixels)
    samples = reader.samples()
    if not samples:
        raise DataError(f"{raw}: there are no images where the layout says", "correct `layout` in config/data/")
    checks.check_task(samples, section.task)
    samples = name_by_class(samples, section.classes, section.names)
    classes = resolve_classes(samples, section.classes, section.names)
    checks.check_order(classes, published_order(section.layout, classes), section.layout.kind)

    seen = inspect_samples(reader, samples, values, section.max_pixels, workers, section.depth or FULL_DEPTH)
    checks.check_readable(seen, section.max_unreadable, evidence)
    rows = seen[seen["problem"] == ""].reset_index(drop=True)
    checks.check_depth(rows, section.depth)
    if values:
        checks.check_mask_values(rows, dict(zip(classes, values, strict=True)), evidence)
    rows, ignored = checks.leave_out_ignored(rows, classes, section)
    checks.check_enough(rows, classes, section)

    named = rows["group"].notna()
    rows["group"] = assign_groups(rows, section.split)
    checks.check_grouped(rows, named, section.layout)
    # Given splits are judged as they came, before a missing one is cut from them.
    checks.check_groups(rows, evidence)
    rows["split"] = cut_splits(rows, section.split)
    in_gap = rows[rows["split"].isna()]
    rows = rows[rows["split"].notna()]
    checks.check_groups(rows, evidence)
    kept = checks.settle_duplicates(rows, section.duplicates, evidence)
    copies = rows.drop(kept.index)
    checks.check_split_classes(kept, classes, section.ignore, section.task)
    checks.check_test_groups(kept)

    index = kept[COLUMNS].reset_index(drop=True)
    index.to_parquet(out / "index.parquet", index=False)
    left_out = {
        "unreadable": _listed(seen[seen["problem"] != ""], "problem"),
        "ignored": _listed(ignored, "reason"),
        "gap": _listed(in_gap, None),
        "duplicate": _listed(copies, None),
    }
    write_json(out / "report.json", _report(section, classes, index, left_out))
    write_contact_sheet(reader, index, classes, section, out / "contact.png")


def _listed(rows: pd.DataFrame, reason: str | None) -> list[dict[str, str]]:
    return [{"path": row["path"], **({"reason": row[reason]} if reason else {})} for _, row in rows.iterrows()]


def _report(
    section: IndexSection, classes: list[str], index: pd.DataFrame, left_out: dict[str, list[dict[str, str]]]
) -> dict[str, Any]:
    spread = index.groupby("pixels").agg(splits=("split", "nunique"), labels=("label", "nunique"), rows=("id", "size"))
    splits: dict[str, Any] = {}
    for name in checks.SPLITS:
        part = index[index["split"] == name]
        splits[name] = {
            "images": len(part),
            "groups": int(part["group"].nunique()),
            "classes": {cls: checks.count_of_class(part, classes, cls, section.task) for cls in classes},
        }
    return {
        "task": section.task,
        "classes": classes,
        "names": section.names,
        "ignore": section.ignore,
        "images": len(index),
        "splits": splits,
        "left_out": left_out,
        "duplicates": {
            "pictures_with_copies": int((spread["rows"] > 1).sum()),
            "pictures_in_two_splits": int((spread["splits"] > 1).sum()),
            "pictures_with_two_labels": int((spread["labels"] > 1).sum()),
        },
        "sizes": {
            "width": [int(index["width"].min()), int(index["width"].max())],
            "height": [int(index["height"].min()), int(index["height"].max())],
        },
        "mask_values": section.mask_values,
    }
