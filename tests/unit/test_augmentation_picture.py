"""The picture of the augmentation: originals above, what was made of them below, and the training none the wiser."""

import imagewright.models  # noqa: F401, I001  # First of all: makes torchvision importable.

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from imagewright.config.train import AugmentConfig
from imagewright.tensors.dataset import TensorSplit
from imagewright.train.augmentation import Augmentation
from imagewright.train.augmentation_picture import GAP, draw_augmented


def split(folder: Path, count: int = 20, side: int = 32, channels: int = 3, masks: bool = False) -> TensorSplit:
    generator = np.random.default_rng(0)
    np.save(folder / "train.images.npy", generator.integers(0, 256, (count, side, side, channels), np.uint8))
    targets = np.arange(count) % 3
    if masks:
        targets = generator.choice(np.array([0, 1, 2, 255], np.uint8), (count, side, side))
    np.save(folder / "train.targets.npy", targets)
    return TensorSplit(folder, "train")


def drawn(folder: Path, stored: TensorSplit, augmentation: Augmentation) -> NDArray[np.uint8]:
    draw_augmented(stored, augmentation, folder / "augmented.png")
    return np.asarray(Image.open(folder / "augmented.png"))


@pytest.mark.parametrize("channels", [1, 3])
def test_originals_above_and_augmented_below(tmp_path: Path, channels: int) -> None:
    stored = split(tmp_path, channels=channels)
    sheet = drawn(tmp_path, stored, Augmentation(AugmentConfig(horizontal_flip=1.0), 0, 3))
    # Small pictures are enlarged threefold, to 96 pixels.
    assert sheet.shape == ((5 * (32 + GAP) + GAP) * 3, (8 * (32 + GAP) + GAP) * 3, 3)
    small = sheet[::3, ::3]
    first, below = small[GAP : GAP + 32, GAP : GAP + 32], small[2 * GAP + 32 : 2 * GAP + 64, GAP : GAP + 32]
    assert (first == stored.images[0]).all() and (below == first[:, ::-1]).all()
    last = small[GAP : GAP + 32, -GAP - 32 : -GAP]
    assert (last == stored.images[-1]).all()


def test_masks_lie_over_their_pictures(tmp_path: Path) -> None:
    stored = split(tmp_path, masks=True)
    sheet = drawn(tmp_path, stored, Augmentation(AugmentConfig(rotate=20.0), 0, 3))[::3, ::3]
    shown, mask = sheet[GAP : GAP + 32, GAP : GAP + 32], stored.targets[0]
    plain = stored.images[0]
    assert (shown[mask == 0] == plain[mask == 0]).all()
    for value, colour in ((1, (230, 159, 0)), (2, (86, 180, 233)), (255, (0, 0, 0))):
        expected = np.rint(0.6 * plain[mask == value] + 0.4 * np.array(colour))
        assert (shown[mask == value] == expected).all()


def test_windows_and_mixed_labels_and_few_pictures(tmp_path: Path) -> None:
    stored = split(tmp_path, masks=True)
    assert drawn(tmp_path, stored, Augmentation(AugmentConfig(), 0, 3, (16, 16))).shape[2] == 3
    stored = split(tmp_path, count=3)
    sheet = drawn(tmp_path, stored, Augmentation(AugmentConfig(mixup=1.0, cutmix=1.0), 0, 3))
    assert sheet.shape[1] == (3 * (32 + GAP) + GAP) * 3


def test_the_same_bytes_and_the_generator_as_it_was(tmp_path: Path) -> None:
    stored = split(tmp_path)
    augmentation = Augmentation(AugmentConfig(rotate=30.0, noise=0.1, mixup=0.2), 0, 3)
    before = torch.get_rng_state()
    draw_augmented(stored, augmentation, tmp_path / "one.png")
    torch.rand(3)
    middle = torch.get_rng_state()
    draw_augmented(stored, augmentation, tmp_path / "other.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    assert torch.equal(torch.get_rng_state(), middle) and not torch.equal(before, middle)
    draw_augmented(stored, augmentation, tmp_path / "other.png", seed=1)
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()
