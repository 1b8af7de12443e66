"""Stored tensors: what a model is trained on is what lies in the files, and whoever bends it is stopped."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from imagewright.config.data import DataConfig
from imagewright.config.section import Section
from imagewright.config.tensors import InputConfig, TensorsConfig, TensorsSection
from imagewright.errors import DataError, EvidenceError
from imagewright.files import read_json, sha256
from imagewright.imaging import load_mask_values
from imagewright.index.build import build_index
from imagewright.index.readers import open_reader
from imagewright.tensors.dataset import IGNORE_INDEX, TensorSplit, read_meta
from imagewright.tensors.verify import verify_tensors
from imagewright.tensors.write import Encoder, write_tensors

SIDE = 16
AnySection = TypeVar("AnySection", bound=Section)
VALUES = {"background": 0, "cell": 100, "dirt": 30}


def noise(*shape: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def reread(section: AnySection) -> AnySection:
    return type(section).model_validate(yaml.safe_load(section.to_yaml()))


class Stored:
    """A small data set, indexed and stored."""

    def __init__(self, folder: Path, config: dict[str, Any], form: dict[str, Any], workers: int = 1) -> None:
        self.raw, self.index, self.out = folder / "raw", folder / "index", folder / f"tensors-{workers}"
        data = DataConfig.model_validate({"source": {"kind": "folder"}} | config)
        tensors = TensorsConfig.model_validate({"height": SIDE, "width": SIDE, "colour": "gray", "shard": 7} | form)
        # Sections come from a file, as in the workflow.
        self.section = reread(TensorsSection.of(data, tensors))
        if not self.index.exists():
            self.index.mkdir()
            build_index(reread(data.index_section), self.raw, self.index, folder / "evidence", workers)
        self.out.mkdir()
        write_tensors(self.section, self.raw, self.index, self.out, workers)
        self.rows = pd.read_parquet(self.index / "index.parquet")
        self.meta = read_meta(self.out)
        self.encoder = Encoder(open_reader(self.section.layout, self.raw), self.section, tuple(self.meta["classes"]))

    def arrays(self, split: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        images, targets = (np.load(self.out / f"{split}.{kind}.npy") for kind in ("images", "targets"))
        return images, targets

    def spoilable(self, folder: Path) -> "Stored":
        """The same with arrays and rows of its own."""
        other = copy.copy(self)
        other.out, other.rows = shutil.copytree(self.out, folder / "tensors"), self.rows.copy()
        return other

    def verify(self) -> None:
        verify_tensors(self.encoder, self.rows, self.out)


def classes(folder: Path, colour: str = "gray", workers: int = 1) -> Stored:
    if not (folder / "raw").exists():
        for label in ("cat", "dog"):
            for number in range(20):
                shape = (SIDE, SIDE) if colour == "gray" else (SIDE, SIDE, 3)
                save(
                    folder / f"raw/{label}/{number}.png",
                    noise(*shape, seed=1000 * len(label) + 100 * (label == "dog") + number),
                )
    config = {"task": "classification", "layout": {"kind": "class_folders"}}
    return Stored(folder, config, {"colour": colour}, workers)


def masks(folder: Path, ignore: tuple[str, ...] = (), classes: dict[str, Any] | None = None, **form: Any) -> Stored:
    for number in range(20):
        save(folder / f"raw/images/{number}.png", noise(SIDE, SIDE, seed=number))
        mask = np.random.default_rng(number).choice(np.array(list(VALUES.values()), np.uint8), (SIDE, SIDE))
        save(folder / f"raw/masks/{number}.png", mask)
    config = {
        "task": "segmentation",
        "layout": {"kind": "image_mask_pairs"},
        "classes": classes or VALUES,
        "ignore": list(ignore),
    }
    return Stored(folder, config, form)


@pytest.fixture(scope="module")
def cats_and_dogs(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return masks(tmp_path_factory.mktemp("masks"))


@pytest.mark.parametrize("colour", ["gray", "rgb"])
def test_pictures_and_labels_in_the_order_of_the_index(tmp_path: Path, colour: str) -> None:
    stored = classes(tmp_path, colour)
    for split, part in stored.rows.groupby("split"):
        images, targets = stored.arrays(str(split))
        assert images.dtype == np.uint8 and targets.dtype == np.int64 and len(images) == len(part)
        for image, target, path in zip(images, targets, part["path"], strict=True):
            pixels = np.asarray(Image.open(stored.raw / path)).reshape(SIDE, SIDE, -1)
            assert np.array_equal(image, pixels)
            assert stored.meta["classes"][target] == path.split("/")[0]


def test_mean_and_deviation_are_those_of_train(tmp_path: Path) -> None:
    # Of all three splits, they would carry something of test into training.
    stored = classes(tmp_path, "rgb")
    train = stored.arrays("train")[0] / 255
    assert stored.meta["mean"] == pytest.approx(train.mean(axis=(0, 1, 2)), abs=1e-9)
    assert stored.meta["std"] == pytest.approx(train.std(axis=(0, 1, 2)), abs=1e-9)


def test_the_record_counts_what_is_stored(cells: Stored) -> None:
    stored = cells
    for split, facts in stored.meta["splits"].items():
        images, targets = stored.arrays(split)
        assert facts["images"] == len(images)
        assert facts["targets"] == {name: int((targets == n).sum()) for n, name in enumerate(VALUES)}


def test_bytes_do_not_depend_on_workers_or_shards(tmp_path: Path) -> None:
    one, two = classes(tmp_path), classes(tmp_path, workers=2)
    files = {path.name for path in one.out.iterdir()}
    assert len(files) == 7
    assert {name: sha256(one.out / name) for name in files} == {name: sha256(two.out / name) for name in files}


def test_grey_of_twelve_bits(tmp_path: Path) -> None:
    for number in range(20):
        values = np.random.default_rng(number).integers(0, 4096, (SIDE, SIDE)).astype(np.uint16)
        save(tmp_path / f"raw/{('cat', 'dog')[number % 2]}/{number}.png", values)
    config: dict[str, Any] = {"task": "classification", "layout": {"kind": "class_folders"}}
    with pytest.raises(DataError, match=r"20 images .* that is 12 bits, not 16"):
        Stored(tmp_path, config, {})
    shutil.rmtree(tmp_path / "index")
    stored = Stored(tmp_path, config | {"depth": 12}, {})
    for split, part in stored.rows.groupby("split"):
        for image, path in zip(stored.arrays(str(split))[0], part["path"], strict=True):
            assert np.array_equal(image[:, :, 0], np.asarray(Image.open(stored.raw / path)) >> 4)
    # The server brings pictures into the form that travels with the model.
    assert InputConfig(**stored.meta["input"]) == stored.section.input
    assert stored.meta["input"]["depth"] == 12


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_that_broke_after_the_index_is_named(tmp_path: Path, kind: str) -> None:
    stored = masks(tmp_path)
    (stored.raw / f"{kind}/3.png").write_bytes(b"a note")
    with pytest.raises(DataError, match=f"^{kind}/3.png: the content is no picture"):
        write_tensors(stored.section, stored.raw, stored.index, stored.out, 2)


def test_masks_hold_the_position_of_their_class(cells: Stored) -> None:
    stored = cells
    for split, part in stored.rows.groupby("split"):
        targets = stored.arrays(str(split))[1]
        assert targets.dtype == np.uint8
        for target, path in zip(targets, part["mask"], strict=True):
            values = np.asarray(Image.open(stored.raw / path))
            for position, value in enumerate(VALUES.values()):
                assert np.array_equal(target == position, values == value)


def test_ignored_classes_and_borders_are_255(tmp_path: Path) -> None:
    stored = masks(tmp_path, ignore=("dirt",), width=32, fit="pad")
    for split, part in stored.rows.groupby("split"):
        images, targets = stored.arrays(str(split))
        assert images.shape[1:] == (SIDE, 32, 1)
        assert (targets[:, :, :8] == 255).all() and (targets[:, :, 24:] == 255).all()
        for target, path in zip(targets, part["mask"], strict=True):
            assert np.array_equal(target[:, 8:24] == 255, np.asarray(Image.open(stored.raw / path)) == VALUES["dirt"])


def test_several_values_are_one_class(tmp_path: Path) -> None:
    stored = masks(tmp_path, classes={"background": 0, "matter": [100, 30]})
    for split, part in stored.rows.groupby("split"):
        for target, path in zip(stored.arrays(str(split))[1], part["mask"], strict=True):
            assert np.array_equal(target == 1, np.asarray(Image.open(stored.raw / path)) > 0)


def test_a_value_that_the_encoder_forgets_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a class with many values, one rare one: no stored mask may hold it, so known masks hold them all.
    def target(self: Encoder, row: Any) -> Any:
        found = as_it_is(self, row)
        values = load_mask_values(self.reader.read(row.mask))
        if values.shape == found.shape:
            return found
        return np.where(values[1::3, 1::3] == 199, 0, found)

    as_it_is = Encoder.target
    classes = {"background": 0, "cell": [100, 30, *range(150, 250)]}
    stored = masks(tmp_path, classes=classes)
    monkeypatch.setattr(Encoder, "target", target)
    with pytest.raises(EvidenceError, match="of a known mask that holds background, cell came out as another class"):
        stored.verify()


def test_the_first_class_stays_the_first(tmp_path: Path) -> None:
    # Sections are written with sorted keys, and the first class is the background that Dice leaves out.
    stored = masks(tmp_path, classes={"tissue": 0, "dirt": 30, "cell": 100})
    assert stored.meta["classes"] == ["tissue", "dirt", "cell"]
    target, path = stored.arrays("test")[1][0], stored.rows[stored.rows["split"] == "test"]["mask"].iloc[0]
    values = np.asarray(Image.open(stored.raw / path))
    assert [int((target == n).sum()) for n in range(3)] == [int((values == value).sum()) for value in (0, 30, 100)]


def change(path: Path, edit: Callable[[NDArray[Any]], None]) -> None:
    array = np.load(path)
    edit(array)
    np.save(path, array)


def flip(images: NDArray[Any]) -> None:
    images[0] = images[0, :, ::-1].copy()


def swap(rows: NDArray[Any]) -> None:
    rows[[0, 1]] = rows[[1, 0]]


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("edit", [flip, swap])
def test_a_picture_that_was_bent_or_moved_is_noticed(
    tmp_path: Path, cats_and_dogs: Stored, split: str, edit: Callable[[NDArray[Any]], None]
) -> None:
    # Augmentation in stored tensors: validation and test would be scored on pictures that nobody took.
    stored = cats_and_dogs.spoilable(tmp_path)
    stored.verify()
    change(stored.out / f"{split}.images.npy", edit)
    with pytest.raises(EvidenceError, match=f"split {split}: what is stored for .*png is not what its file decodes to"):
        stored.verify()


def test_a_label_that_was_changed_is_noticed(tmp_path: Path, cats_and_dogs: Stored) -> None:
    stored = cats_and_dogs.spoilable(tmp_path)
    change(stored.out / "test.targets.npy", lambda targets: np.subtract(1, targets, out=targets))
    with pytest.raises(EvidenceError, match="split test: the target stored for"):
        stored.verify()


def test_a_class_that_the_file_does_not_hold_is_noticed(tmp_path: Path, cells: Stored) -> None:
    stored = cells.spoilable(tmp_path)
    counted = json.loads(stored.rows["mask_counts"][0])
    stored.rows.loc[0, "mask_counts"] = json.dumps([counted[0], 0, counted[2]])
    with pytest.raises(
        EvidenceError, match=f"the stored mask of {stored.rows['mask'][0]} holds cell, its file does not"
    ):
        stored.verify()


def thin_lines(folder: Path, **values: Any) -> Stored:
    """Masks with a line one pixel wide in an even column; at half of the size, nearest neighbour takes the odd ones."""
    for number in range(20):
        save(folder / f"raw/images/{number}.png", noise(SIDE, SIDE, seed=number))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[4:12, 4:12], mask[:, 2] = 100, 30
        save(folder / f"raw/masks/{number}.png", mask)
    config = {"task": "segmentation", "layout": {"kind": "image_mask_pairs"}, "classes": VALUES} | values
    return Stored(folder, config, {"height": SIDE // 2, "width": SIDE // 2})


def test_a_class_that_is_gone_at_the_stored_size_is_noticed(tmp_path: Path) -> None:
    # Metrics leave out what never occurs: a model that never finds the lines would get a Dice of 1.
    with pytest.raises(DataError, match=r"class 'dirt' has \d+ pixels in the masks, but 0 of them are left at 8x8"):
        thin_lines(tmp_path)
    stored = thin_lines(tmp_path / "ignored", ignore=["dirt"])
    assert stored.meta["splits"]["test"]["targets"]["cell"] > 0


def test_a_batch_is_in_the_order_asked_for(cats_and_dogs: Stored) -> None:
    stored = cats_and_dogs
    split = TensorSplit(stored.out, "train")
    images, targets = stored.arrays("train")
    batch, labels = split[[5, 0, 3]]
    assert batch.dtype == torch.uint8 and labels.dtype == torch.int64
    assert np.array_equal(batch.numpy(), images[[5, 0, 3]]) and labels.tolist() == targets[[5, 0, 3]].tolist()
    assert split[2][0].shape == (1, SIDE, SIDE, 1)
    assert len(split) == len(images)
    # The file itself, not a copy in memory: a data set may be larger than that.
    assert isinstance(split.images, np.memmap)


def test_a_batch_can_be_changed_without_changing_the_file(tmp_path: Path, cats_and_dogs: Stored) -> None:
    stored = cats_and_dogs.spoilable(tmp_path)
    split = TensorSplit(stored.out, "train")
    split[[0, 1]][0].zero_()
    assert np.array_equal(split.images, stored.arrays("train")[0])


def test_the_hash_tells_the_splits_apart(cats_and_dogs: Stored) -> None:
    stored = cats_and_dogs
    for name, facts in read_json(stored.out / "meta.json")["splits"].items():
        assert TensorSplit(stored.out, name).sha256 == facts["sha256"]
    assert len({facts["sha256"] for facts in stored.meta["splits"].values()}) == 3


def test_ignored_pixels_are_no_class_in_a_batch(tmp_path: Path) -> None:
    stored = masks(tmp_path, ignore=("dirt",))
    target = TensorSplit(stored.out, "test")[[0]][1][0].numpy()
    assert np.array_equal(target == IGNORE_INDEX, stored.arrays("test")[1][0] == 255)
    assert set(np.unique(target)) == {IGNORE_INDEX, 0, 1}
