"""Cut what the data does not give: stratified, whole groups, gaps between blocks, seeded."""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from imagewright.config.data import Split
from imagewright.errors import DataError, first_line

FOLDS = 20


def assign_groups(rows: pd.DataFrame, split: Split) -> pd.Series:
    """What must stay together: the layout's group, the pattern's, or the block; else pictures with equal pixels.

    Args:
        rows: `id`, `path`, `group` and `pixels`, in natural order.
        split: the data config's `split`.

    Returns:
        A name for each row.

    Raises:
        DataError: the pattern fits a path in no place, or is no regular expression.
    """
    if split.block:
        folder = rows["path"].str.rpartition("/")[0]
        number = rows.groupby(folder, sort=False).cumcount() // split.block
        return folder + "/block-" + number.astype(str).str.zfill(4)
    if split.group:
        try:
            pattern = re.compile(split.group)
        except re.error as error:
            raise DataError(f"split.group {split.group!r}: {error}", "write a regular expression") from error
        # What stands in the first parentheses, named or not; without any, all that fits.
        matches = rows["path"].map(pattern.search)
        found = matches.map(lambda match: match[min(1, pattern.groups)] if match else None)
        if found.isna().any():
            path = rows.loc[found.isna(), "path"].iloc[0]
            raise DataError(f"split.group {split.group!r} does not fit {path!r}", "widen it, or remove the file")
        return found
    return rows["group"].where(rows["group"].notna(), rows["pixels"])


def cut_splits(rows: pd.DataFrame, split: Split) -> pd.Series:
    """Name the split of every row; given ones are kept, a missing test or val is cut from train.

    Args:
        rows: `label` (may be missing), `split` (may be missing) and `group`.
        split: the data config's `split`.

    Returns:
        `train`, `val` or `test` for each row; missing where `gap` leaves a row out.
    """
    given = rows["split"].fillna("train").astype(object)
    for name, share in (("test", split.test), ("val", split.val)):
        if not (given == name).any():
            # Shares are of the whole, also where something has been cut before.
            rest = given == "train"
            wanted = share * len(rows) / max(int(rest.sum()), 1)
            if (groups := rows.loc[rest, "group"].unique()).size == 1:
                raise DataError(
                    f"the splits cannot be cut: all {int(rest.sum())} images left for {name} belong to {groups[0]!r}",
                    "add images of others, or say in data.split.group what belongs together",
                )
            chosen = _choose(rows[rest], min(wanted, 0.9), split.seed)
            given.loc[chosen] = name
    return _leave_gaps(rows, given, split.gap) if split.gap else given


def _choose(rows: pd.DataFrame, share: float, seed: int) -> pd.Index:
    """Choose about `share` of the rows: whole groups, with each label's share kept as well as that allows."""
    labels = rows["label"].fillna("").to_numpy(dtype=str)
    groups = rows["group"].to_numpy(dtype=str)
    try:
        if len(np.unique(groups)) == len(rows):
            cutter = StratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
            chosen = next(cutter.split(labels, labels))[1]
        else:
            chosen = _choose_groups(labels, groups, share, seed)
    except ValueError as error:
        raise DataError(
            f"the splits cannot be cut ({first_line(error)})",
            "add images or groups, or change split.val and split.test",
        ) from error
    return rows.index[chosen]  # type: ignore[no-any-return]


def _choose_groups(labels: NDArray[np.str_], groups: NDArray[np.str_], share: float, seed: int) -> NDArray[np.intp]:
    """Choose about `share` of the rows in whole groups: those folds that have most labels, and leave most.

    Fine folds come nearest to the share. A label with fewer groups than folds is not in every one of them: where it is
    missing, coarse folds are tried.
    """

    def labels_on_both_sides(rows: NDArray[np.intp]) -> int:
        return len(np.unique(labels[rows])) + len(np.unique(np.delete(labels, rows)))

    names, counts = np.unique(labels, return_counts=True)
    runs: list[NDArray[np.intp]] = []
    for wanted in (FOLDS, round(1 / share)):
        folds = max(2, min(wanted, len(np.unique(groups)), int(counts.max())))
        cutter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
        parts = [part for _, part in cutter.split(labels, labels, groups)]
        count = max(1, round(share * folds))
        runs += [np.concatenate([*parts[start:], *parts[:start]][:count]) for start in range(folds)]
        best = max(runs, key=labels_on_both_sides)
        if labels_on_both_sides(best) == 2 * len(names):
            break
    return best


def _leave_gaps(rows: pd.DataFrame, names: pd.Series, gap: int) -> pd.Series:
    """Leave out `gap` rows on each side of every border between two splits of one folder."""
    folder = rows["path"].str.rpartition("/")[0]
    result = names.copy()
    for _, index in rows.groupby(folder, sort=False).groups.items():
        part = names.loc[index].to_numpy()
        for border in np.flatnonzero(part[:-1] != part[1:]):
            result.loc[index[max(0, border + 1 - gap) : border + 1 + gap]] = None
    return result
