"""What stops the run before anything is trained: each check names the file, the limit and the way out."""

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from imagewright.config.data import IndexSection
from imagewright.config.layout import Bcss, Gtsrb, Layout
from imagewright.errors import DataError
from imagewright.imaging import FULL_DEPTH
from imagewright.index.readers import Sample

SPLITS = ("train", "val", "test")


def check_task(samples: Sequence[Sample], task: str) -> None:
    """Stop if the layout does not give every image what the task needs: a label, or a mask.

    Raises:
        DataError: an image has none.
    """
    what = "label" if task == "classification" else "mask"
    for sample in samples:
        if getattr(sample, what) is None:
            raise DataError(
                f"{sample.path}: the layout gives it no {what}, which {task} needs",
                f"give every image a {what}, or correct task or layout.kind in config/data/",
            )


def check_order(classes: Sequence[str], published: Sequence[str], kind: str) -> None:
    """Stop if a public data set's classes are not those of its own numbers, in their order.

    Its forms list them in different orders, and a table of numbers in none: a model of one form would be wrong on
    another.

    Args:
        classes: in the order of the model's outputs.
        published: those of them that the data set knows, in the order of its numbers.
        kind: of the layout, for the message.

    Raises:
        DataError: they differ.
    """
    if unknown := [name for name in classes if name not in published]:
        raise DataError(
            f"layout {kind}: {unknown[0]!r} is no class of this data set",
            "list its classes in config/data/ as the file does that is shipped for it",
        )
    for position, (name, expected) in enumerate(zip_longest(classes, published)):
        if name != expected:
            raise DataError(
                f"layout {kind}: class {position} is {name!r}, but the published order has {expected!r} there",
                f"list them so in config/data/: {', '.join(published[:10])}; or correct that order in "
                "src/imagewright/index/readers/",
            )


def check_readable(rows: pd.DataFrame, limit: float, evidence: Path) -> None:
    """Stop if more files than the limit are unreadable; all of them are listed in the evidence."""
    bad = rows[rows["problem"] != ""]
    if len(bad) > limit * len(rows):
        where = _write(bad[["path", "problem"]], evidence / "unreadable.csv")
        first = bad.iloc[0]
        raise DataError(
            f"{len(bad)} of {len(rows)} images cannot be used, more than data.max_unreadable ({limit:.2%}); "
            f"first: {first['path']}: {first['problem']}",
            f"replace or remove them (all are in {where}), or raise data.max_unreadable",
        )


def check_depth(rows: pd.DataFrame, depth: int | None) -> None:
    """Stop if grey pictures of more than 8 bits use a part of 16 and the data config does not say how many.

    Of 12-bit values, the upper 8 of 16 bits are 16 grey levels; of 8-bit values, they are black.
    """
    deep = rows[rows["deepest"] >= 0]
    if depth or deep.empty or (largest := int(deep["deepest"].max())) >= 2 ** (FULL_DEPTH - 1):
        return
    bits = max(8, largest.bit_length())
    raise DataError(
        f"{len(deep)} images have grey values of more than 8 bits, but the largest is {largest}: that is {bits} bits, "
        f"not 16; first: {deep['path'].iloc[0]}",
        f"say in config/data/ how many are in use, for example `depth: {bits}`; or `depth: 16` if they are so dark",
    )


def check_mask_values(rows: pd.DataFrame, classes: Mapping[str, Sequence[int]], evidence: Path) -> None:
    """Stop at a mask value that no class has."""
    bad = rows[rows["undeclared"] != ""]
    if len(bad):
        where = _write(bad[["path", "mask", "undeclared"]], evidence / "undeclared-mask-values.csv")
        first = bad.iloc[0]
        shown = json.loads(first["undeclared"])[:5]
        raise DataError(
            f"{len(bad)} masks hold undeclared values; first: {first['mask']} holds {shown}, "
            f"declared are {dict(classes)}",
            f"declare them under `classes` in config/data/, or correct the masks (all are in {where})",
        )


def leave_out_ignored(
    rows: pd.DataFrame, classes: Sequence[str], section: IndexSection
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave out masks of which nearly all is ignored: there is next to nothing to learn or to judge in them.

    Returns:
        The rows that stay, numbered anew, and those that do not, with a `reason`.
    """
    if not section.ignore:
        return rows, rows[:0].assign(reason="")
    counts = np.array([json.loads(counts) for counts in rows["mask_counts"]]).reshape(len(rows), len(classes))
    ignored = counts[:, [name in section.ignore for name in classes]].sum(axis=1) / counts.sum(axis=1)
    empty = ignored > section.max_ignored
    reasons = [f"{share:.1%} of its mask is ignored, more than data.max_ignored" for share in ignored[empty]]
    return rows[~empty].reset_index(drop=True), rows[empty].assign(reason=reasons)


def check_enough(rows: pd.DataFrame, classes: Sequence[str], section: IndexSection) -> None:
    """Stop if there are too few images, in all or of a class."""
    least = section.min_images_per_class
    if section.task == "segmentation":
        if len(rows) < least:
            raise DataError(
                f"{len(rows)} images are too few", f"at least {least} are needed (data.min_images_per_class)"
            )
        return
    counts = rows["label"].value_counts()
    for name in classes:
        if (count := int(counts.get(name, 0))) < least:
            raise DataError(
                f"class {name!r} has {count} image{'s' if count != 1 else ''}, "
                f"fewer than data.min_images_per_class ({least})",
                "add images, remove the class, or lower the limit",
            )


def check_grouped(rows: pd.DataFrame, named: pd.Series, layout: Layout) -> None:
    """Stop if a track or patient was lost on the way: frames of one track would be cut apart, and nobody would see it.

    Args:
        rows: with the `group` that the splits are cut by.
        named: which of them the layout gave a group.
        layout: Gtsrb and Bcss know one for every image; only GTSRB's test images are published without.

    Raises:
        DataError: an image that should have a group is grouped by its pixels alone.
    """
    known = isinstance(layout, Bcss) | (isinstance(layout, Gtsrb) & (rows["split"] != "test"))
    lost = rows[(rows["group"] == rows["pixels"]) & (known | named)]
    if len(lost):
        raise DataError(
            f"{len(lost)} images have lost their group (track, patient), which layout {layout.kind} knows; "
            f"first: {lost['path'].iloc[0]}",
            "correct what drops it in src/imagewright/index/, or say in data.split.group what belongs together",
        )


def check_groups(rows: pd.DataFrame, evidence: Path) -> None:
    """Stop if a group (track, patient, block) is in two splits."""
    # Rows without a group of their own are grouped by their pixels; those are for the duplicates policy to judge.
    named = rows[rows["group"] != rows["pixels"]]
    splits = named.groupby("group")["split"].nunique()
    if len(torn := splits[splits > 1]):
        bad = named[named["group"].isin(torn.index)].sort_values(["group", "split"])
        where = _write(bad[["group", "split", "path"]], evidence / "groups-in-two-splits.csv")
        name = str(torn.index[0])
        both = ", ".join(sorted(named.loc[named["group"] == name, "split"].dropna().unique()))
        raise DataError(
            f"{len(torn)} groups are in more than one split; first: {name!r} is in {both}",
            f"move each group (patient, track) to one split, or say in data.split.group what belongs together "
            f"(all are in {where})",
        )


def settle_duplicates(rows: pd.DataFrame, policy: str, evidence: Path) -> pd.DataFrame:
    """Apply the `duplicates` policy to pictures whose pixels are in two splits.

    Returns:
        The rows that stay.

    Raises:
        DataError: the policy is `stop`, and there are some.
    """
    spread = rows.groupby("pixels")["split"].nunique()
    shared = rows[rows["pixels"].isin(spread[spread > 1].index)].sort_values(["pixels", "split", "path"])
    if shared.empty or policy == "report":
        return rows
    if policy == "stop":
        where = _write(shared[["pixels", "split", "path"]], evidence / "duplicates.csv")
        first = shared[shared["pixels"] == shared["pixels"].iloc[0]]
        pair = " and ".join(f"{row['path']} ({row['split']})" for _, row in first.drop_duplicates("split").iterrows())
        raise DataError(
            f"{shared['pixels'].nunique()} pictures are in more than one split; first: {pair}",
            f"remove copies (all are in {where}), or set data.duplicates to drop-from-train",
        )
    # A copy stays in the split that judges: in test before val, in val before train.
    rank = rows["split"].map({"test": 0, "val": 1, "train": 2})
    best = rank.groupby(rows["pixels"]).transform("min")
    return rows[rank == best]


def check_split_classes(rows: pd.DataFrame, classes: Sequence[str], ignore: Sequence[str], task: str) -> None:
    """Stop if a split is empty or lacks a class."""
    for split in SPLITS:
        part = rows[rows["split"] == split]
        if part.empty:
            raise DataError(f"the {split} split is empty", "add images, or change data.split")
        for name in classes:
            if name not in ignore and not count_of_class(part, classes, name, task):
                raise DataError(
                    f"class {name!r} is missing from the {split} split",
                    "add images of it, or change data.split (seed, val, test, block)",
                )


def check_test_groups(rows: pd.DataFrame) -> None:
    """Stop if the test split is one group: resampled, it is always the same, and every interval would have no width."""
    test = rows[rows["split"] == "test"]
    if test["group"].nunique() < 2:
        first = test.iloc[0]
        shown = first["path"] if first["group"] == first["pixels"] else f"group {first['group']!r}"
        raise DataError(
            f"the test split has {len(test)} image{'s' if len(test) != 1 else ''}, all of {shown}, "
            "so no number could be given with its uncertainty",
            "put more groups into test (data.split), or leave `group` out where images are independent",
        )


def count_of_class(rows: pd.DataFrame, classes: Sequence[str], name: str, task: str) -> int:
    """Images of a class (classification), or its pixels at full size (segmentation)."""
    if task == "classification":
        return int((rows["label"] == name).sum())
    position = list(classes).index(name)
    return sum(json.loads(counts)[position] for counts in rows["mask_counts"])


def _write(rows: pd.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path, index=False)
    return path
