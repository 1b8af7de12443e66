"""What stops the run before anything is trained: the file, the limit and the way out, and the whole list kept."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imagewright.config.data import DataConfig, IndexSection
from imagewright.errors import DataError
from imagewright.index import checks
from imagewright.index.readers import Sample


def section(task: str = "classification", **values: Any) -> IndexSection:
    layout, classes = {
        "classification": ("class_folders", None),
        "segmentation": ("image_mask_pairs", {"background": 0, "cell": 1}),
    }[task]
    config = {"task": task, "source": {"kind": "folder"}, "layout": {"kind": layout}, "classes": classes}
    return DataConfig.model_validate(config | values).index_section


def splits_of(**rows: str) -> pd.DataFrame:
    """For each path a word `split/group/pixels`."""
    parts = [word.split("/") for word in rows.values()]
    return pd.DataFrame(parts, columns=["split", "group", "pixels"]).assign(path=list(rows))


@pytest.mark.parametrize(("task", "what"), [("classification", "label"), ("segmentation", "mask")])
def test_a_layout_that_does_not_fit_the_task(task: str, what: str) -> None:
    # Masks in class folders: without this, the first person to notice would be the one who reads a traceback.
    checks.check_task([Sample("1", "1.png", label="cat", mask="m.png")], task)
    with pytest.raises(DataError, match=f"2.png: the layout gives it no {what}, which {task} needs"):
        checks.check_task([Sample("1", "1.png", label="cat", mask="m.png"), Sample("2", "2.png")], task)


def test_unreadable_images_up_to_the_limit(tmp_path: Path) -> None:
    rows = pd.DataFrame({"path": [f"{n}.png" for n in range(10)], "problem": ["", "cut short", "empty"] + [""] * 7})
    checks.check_readable(rows, 0.2, tmp_path)
    assert not any(tmp_path.iterdir())
    with pytest.raises(
        DataError, match=r"2 of 10 images cannot be used.*\(19.00%\); first: 1.png: cut short"
    ) as caught:
        checks.check_readable(rows, 0.19, tmp_path / "evidence")
    listed = tmp_path / "evidence/unreadable.csv"
    assert str(listed) in caught.value.remedy
    assert listed.read_text() == "path,problem\n1.png,cut short\n2.png,empty\n"


@pytest.mark.parametrize(("largest", "bits"), [(255, 8), (0, 8), (4000, 12), (2**15 - 1, 15)])
def test_a_part_of_sixteen_bits(largest: int, bits: int) -> None:
    # The upper 8 of 16 bits would be next to nothing of them, and no metric says why.
    rows = pd.DataFrame({"path": ["1.png", "2.png", "3.png"], "deepest": [-1, largest, 0]})
    words = f"2 images .* the largest is {largest}: that is {bits} bits, not 16; first: 2.png\n.*`depth: {bits}`"
    with pytest.raises(DataError, match=words):
        checks.check_depth(rows, None)
    checks.check_depth(rows, bits)
    checks.check_depth(rows, 16)
    checks.check_depth(rows[:1], None)
    checks.check_depth(rows.assign(deepest=[-1, largest, 2**15]), None)


def test_undeclared_mask_values(tmp_path: Path) -> None:
    rows = pd.DataFrame({"path": ["1.png", "2.png"], "mask": ["m1.png", "m2.png"], "undeclared": ["", "[127, 255]"]})
    checks.check_mask_values(rows[:1], {"cell": [1]}, tmp_path)
    with pytest.raises(DataError, match=r"1 masks hold undeclared values; first: m2.png holds \[127, 255\], declared"):
        checks.check_mask_values(rows, {"cell": [1]}, tmp_path)
    assert (tmp_path / "undeclared-mask-values.csv").read_text().splitlines()[1:] == ['2.png,m2.png,"[127, 255]"']


def test_masks_that_are_nearly_all_ignored_are_left_out() -> None:
    values = {"classes": {"outside": 0, "cell": 1}, "ignore": ["outside"]}
    rows = pd.DataFrame({"path": ["a", "b", "c"], "mask_counts": ["[90, 10]", "[100, 0]", "[99, 1]"]})
    kept, left = checks.leave_out_ignored(rows, ["outside", "cell"], section("segmentation", **values))
    assert (kept["path"].tolist(), left["path"].tolist()) == (["a", "c"], ["b"])
    assert left["reason"].tolist() == ["100.0% of its mask is ignored, more than data.max_ignored"]
    kept, _ = checks.leave_out_ignored(rows, ["outside", "cell"], section("segmentation", max_ignored=0.5, **values))
    assert kept.empty
    kept, left = checks.leave_out_ignored(rows, ["outside", "cell"], section("segmentation", max_ignored=1, **values))
    assert len(kept) == 3 and left.empty


def test_nothing_is_ignored_where_no_class_is() -> None:
    rows = pd.DataFrame({"path": ["a"], "mask_counts": ["[100, 0]"]})
    kept, left = checks.leave_out_ignored(rows, ["background", "cell"], section("segmentation", max_ignored=0))
    assert len(kept) == 1 and left.empty


def test_too_few_images_of_a_class() -> None:
    rows = pd.DataFrame({"label": ["cat"] * 5 + ["dog"] * 2})
    checks.check_enough(rows, ["cat", "dog"], section(min_images_per_class=2))
    with pytest.raises(DataError, match=r"class 'dog' has 2 images, fewer than data.min_images_per_class \(3\)"):
        checks.check_enough(rows, ["cat", "dog"], section(min_images_per_class=3))
    with pytest.raises(DataError, match="class 'bird' has 0 images"):
        checks.check_enough(rows, ["cat", "dog", "bird"], section(min_images_per_class=1))


def test_too_few_masks() -> None:
    rows = pd.DataFrame({"label": [None] * 4})
    checks.check_enough(rows, ["background", "cell"], section("segmentation", min_images_per_class=4))
    with pytest.raises(DataError, match="4 images are too few"):
        checks.check_enough(rows, ["background", "cell"], section("segmentation", min_images_per_class=5))


def test_a_group_in_two_splits(tmp_path: Path) -> None:
    rows = splits_of(a="train/anna/1", b="test/anna/2", c="train/ben/3", d="train/ben/4")
    with pytest.raises(DataError, match="1 groups are in more than one split; first: 'anna' is in test, train"):
        checks.check_groups(rows, tmp_path)
    assert (tmp_path / "groups-in-two-splits.csv").read_text() == "group,split,path\nanna,test,b\nanna,train,a\n"
    checks.check_groups(rows[2:], tmp_path)


def test_copies_are_not_for_the_groups_to_judge(tmp_path: Path) -> None:
    checks.check_groups(splits_of(a="train/1/1", b="test/1/1"), tmp_path)


COPIES = {
    "a": "train/1/1",
    "b": "val/1/1",
    "c": "test/1/1",
    "d": "train/2/2",
    "e": "val/2/2",
    "f": "train/3/3",
    "g": "train/3/3",
}


def test_duplicates_stop(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"2 pictures are in more than one split; first: c \(test\) and a \(train\) and"
    ):
        checks.settle_duplicates(splits_of(**COPIES), "stop", tmp_path)
    assert len((tmp_path / "duplicates.csv").read_text().splitlines()) == 6


def test_duplicates_stay_in_the_split_that_judges(tmp_path: Path) -> None:
    kept = checks.settle_duplicates(splits_of(**COPIES), "drop-from-train", tmp_path)
    assert kept["path"].tolist() == ["c", "e", "f", "g"]


def test_duplicates_are_reported_alone(tmp_path: Path) -> None:
    assert len(checks.settle_duplicates(splits_of(**COPIES), "report", tmp_path)) == 7
    assert not any(tmp_path.iterdir())


def test_copies_within_a_split_pass(tmp_path: Path) -> None:
    rows = splits_of(f="train/3/3", g="train/3/3", h="test/4/4")
    assert len(checks.settle_duplicates(rows, "stop", tmp_path)) == 3


def test_a_split_without_images_or_without_a_class() -> None:
    rows = pd.DataFrame({"split": ["train", "val", "test"] * 2, "label": ["cat"] * 3 + ["dog"] * 3})
    checks.check_split_classes(rows, ["cat", "dog"], [], "classification")
    with pytest.raises(DataError, match="the val split is empty"):
        checks.check_split_classes(rows[rows["split"] != "val"], ["cat", "dog"], [], "classification")
    with pytest.raises(DataError, match="class 'dog' is missing from the test split"):
        checks.check_split_classes(rows[:5], ["cat", "dog"], [], "classification")
    checks.check_split_classes(rows[:5], ["cat", "dog"], ["dog"], "classification")


def test_a_test_split_of_one_group() -> None:
    # The bootstrap would draw the same group each time, and claim to be certain.
    rows = splits_of(a="train/anna/1", b="test/ben/2", c="test/ben/3", d="test/4/4", e="test/4/4")
    checks.check_test_groups(rows)
    with pytest.raises(DataError, match=r"the test split has 2 images, all of group 'ben', so no .*\n  put more"):
        checks.check_test_groups(rows[:3])
    with pytest.raises(DataError, match="the test split has 2 images, all of d, so no"):
        checks.check_test_groups(rows[3:])


def test_a_class_that_no_mask_of_a_split_holds() -> None:
    rows = pd.DataFrame(
        {"split": ["train", "val", "test", "test"], "mask_counts": ["[5, 1]", "[5, 1]", "[6, 0]", "[3, 3]"]}
    )
    checks.check_split_classes(rows, ["background", "cell"], [], "segmentation")
    assert checks.count_of_class(rows, ["background", "cell"], "cell", "segmentation") == 5
    with pytest.raises(DataError, match="class 'cell' is missing from the test split"):
        checks.check_split_classes(rows[:3], ["background", "cell"], [], "segmentation")
