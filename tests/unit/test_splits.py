"""Splits: whoever judges a model on what it was trained on believes a number that is not true."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from imagewright.config.data import Split
from imagewright.errors import DataError
from imagewright.index.splits import assign_groups, cut_splits

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


def table(
    labels: list[str], groups: list[str] | None = None, splits: Sequence[str | None] | None = None
) -> pd.DataFrame:
    count = len(labels)
    return pd.DataFrame(
        {
            "path": [f"folder/{number:04d}.png" for number in range(count)],
            "label": labels,
            "group": groups or [f"pixels-{number}" for number in range(count)],
            "split": splits or [None] * count,
        }
    )


def pictures(*paths: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"path": paths, "group": [None] * len(paths), "pixels": [f"p{number}" for number in range(len(paths))]}
    )


def test_stratified() -> None:
    # A rare class must be in all three splits in its proportion, or its score is luck.
    rows = table(["common"] * 800 + ["seldom"] * 160 + ["rare"] * 40)
    names = cut_splits(rows, Split())
    for label, count in (("common", 800), ("seldom", 160), ("rare", 40)):
        of_label = names[rows["label"] == label].value_counts()
        for split, share in SHARES.items():
            assert abs(of_label[split] - share * count) <= 1, (label, split)


def test_same_seed_same_cut() -> None:
    rows = table(["a", "b"] * 100)
    first = cut_splits(rows, Split(seed=3))
    assert first.equals(cut_splits(rows.copy(), Split(seed=3)))
    assert not first.equals(cut_splits(rows, Split(seed=4)))


@pytest.mark.parametrize("seed", range(5))
def test_whole_groups(seed: int) -> None:
    # Patients of 1 to 12 images: none may be known from training when it is judged.
    generator = np.random.default_rng(seed)
    groups = np.repeat([f"patient-{number}" for number in range(80)], generator.integers(1, 13, 80)).tolist()
    label_of = {name: generator.choice(["ill", "well"]) for name in groups}
    rows = table([label_of[name] for name in groups], groups)
    names = cut_splits(rows, Split(seed=seed))
    assert names.groupby(rows["group"]).nunique().max() == 1
    for split, share in SHARES.items():
        assert abs((names == split).mean() - share) < 0.08
        ill = (rows["label"][names == split] == "ill").mean()
        assert abs(ill - (rows["label"] == "ill").mean()) < 0.15


def test_copies_of_a_picture_stay_together() -> None:
    rows = pictures(*(f"cat/{number}.png" for number in range(40)))
    rows["pixels"] = [f"p{number // 2}" for number in range(40)]
    rows["group"], rows["label"], rows["split"] = assign_groups(rows, Split()), "cat", None
    assert cut_splits(rows, Split()).groupby(rows["pixels"]).nunique().max() == 1


def test_masks_have_no_label() -> None:
    rows = table(["x"] * 60)
    rows["label"] = None
    counts = cut_splits(rows, Split()).value_counts()
    assert counts.to_dict() == {"train": 42, "val": 9, "test": 9}


def test_given_splits_are_kept() -> None:
    splits = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    assert cut_splits(table(["a", "b"] * 50, splits=splits), Split()).tolist() == splits


@pytest.mark.parametrize(("given", "missing"), [("test", "val"), ("val", "test")])
def test_a_missing_split_is_cut_from_train(given: str, missing: str) -> None:
    # Benchmarks come with train and test: test stays whole, and val must not be taken from it.
    rows = table(["a", "b"] * 100, splits=["train"] * 160 + [given] * 40)
    names = cut_splits(rows, Split())
    assert (names[160:] == given).all()
    assert (names[:160] == missing).sum() == 30  # 15 % of all 200
    assert (names[:160] == "train").sum() == 130


def test_a_missing_val_takes_whole_groups() -> None:
    groups = [f"track-{number // 8}" for number in range(200)]
    rows = table(["a", "b"] * 100, groups, splits=["train"] * 160 + ["test"] * 40)
    names = cut_splits(rows, Split())
    assert names.groupby(rows["group"]).nunique().max() == 1
    assert 16 <= (names == "val").sum() <= 40


def test_blocks_are_neighbours_of_one_folder() -> None:
    rows = pictures(*(f"{folder}/{number:02d}.png" for folder in ("a", "b") for number in range(5)))
    groups = assign_groups(rows, Split(block=2)).tolist()
    expected = ["block-0000"] * 2 + ["block-0001"] * 2 + ["block-0002"]
    assert groups == [f"{folder}/{name}" for folder in ("a", "b") for name in expected]


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_a_gap_leaves_out_neighbours_on_each_side_of_every_border(gap: int) -> None:
    # Slice 41 looks like slice 42: with one in train and one in test, memory would pass for skill.
    rows = pictures(*(f"{folder}/{number:03d}.png" for folder in ("a", "b") for number in range(140)))
    split = Split(block=7, gap=gap)
    rows["group"], rows["label"], rows["split"] = assign_groups(rows, split), None, None
    before = cut_splits(rows, Split(block=7))
    after = cut_splits(rows, split)
    borders = 0
    for start in (0, 140):
        left_out = set()
        for position in range(start, start + 139):
            if before[position] != before[position + 1]:
                borders += 1
                left_out |= set(range(max(start, position + 1 - gap), min(start + 140, position + 1 + gap)))
        for position in range(start, start + 140):
            assert pd.isna(after[position]) if position in left_out else after[position] == before[position]
        # What is left of two splits is at least 2 × gap apart.
        kept = [position for position in range(start, start + 140) if pd.notna(after[position])]
        for one, other in pairwise(kept):
            assert after[one] == after[other] or other - one > 2 * gap
    assert borders > 10


def test_the_end_of_a_folder_is_no_border() -> None:
    rows = pictures("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    rows["label"], rows["split"] = None, ["train", "train", "test", "test"]
    rows["group"] = rows["path"]
    names = cut_splits(
        pd.concat([rows, rows.assign(split="val", path="c/" + rows["path"])], ignore_index=True), Split(block=1, gap=1)
    )
    assert names.notna().all()


def test_groups_from_the_path() -> None:
    rows = pictures("p12_a.png", "p12_b.png", "p7_a.png")
    assert assign_groups(rows, Split(group=r"p\d+")).tolist() == ["p12", "p12", "p7"]
    assert assign_groups(rows, Split(group=r"p(\d+)_")).tolist() == ["12", "12", "7"]


@pytest.mark.parametrize(
    ("pattern", "first"),
    [(r"(?P<patient>p\d+)_", "p12"), (r"(?:p\d+)", "p12"), (r"(?:p)(\d+)", "12"), (r"(?i:P\d+)_a?", "p12_a")],
)
def test_parentheses_that_are_named_or_no_group(pattern: str, first: str) -> None:
    assert assign_groups(pictures("p12_a.png"), Split(group=pattern)).tolist() == [first]


def test_without_a_group_equal_pixels_are_one() -> None:
    rows = pictures("a.png", "b.png", "c.png")
    rows.loc[0, "group"] = "track"
    assert assign_groups(rows, Split()).tolist() == ["track", "p1", "p2"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [(r"q\d+", "does not fit 'p1.png'"), (r"p1(x)?", "does not fit 'p1.png'"), ("p(", "split.group 'p\\(': missing")],
)
def test_a_pattern_that_does_not_fit(pattern: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        assign_groups(pictures("p1.png"), Split(group=pattern))


@pytest.mark.parametrize(
    "rows",
    [table(["a"] * 50 + ["b"]), table(["a", "b"]), table(["a"] * 20, groups=["one"] * 20)],
    ids=["one-image", "two-images", "one-group"],
)
def test_what_cannot_be_cut_is_said(rows: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="the splits cannot be cut") as caught:
        cut_splits(rows, Split())
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("seed", range(3))
def test_a_label_of_few_groups_is_in_every_split(seed: int) -> None:
    # The rarest traffic signs were filmed seven times: fine folds miss some of them, and val would lack a class.
    labels, groups = [], []
    for label in range(43):
        for track in range(7 if label % 3 else 50):
            labels += [str(label)] * 5
            groups += [f"{label}/{track}"] * 5
    rows = table(labels, groups)
    names = cut_splits(rows, Split(seed=seed))
    assert rows.groupby(names)["label"].nunique().to_dict() == {"train": 43, "val": 43, "test": 43}
    assert rows.groupby(rows["group"])["path"].size().max() == 5
    for split, share in SHARES.items():
        assert (names == split).mean() == pytest.approx(share, abs=0.05)
