"""Augmentation: a picture and its mask move as one, each image on its own, and nothing of it is ever the same twice."""

import imagewright.models  # noqa: F401, I001  # First of all: makes torchvision importable.

from typing import Any

import pytest
import torch
from torch import Tensor

from imagewright.config.train import AugmentConfig
from imagewright.tensors.dataset import IGNORE_INDEX
from imagewright.train.augmentation import Augmentation

SIDE = 48


def batch(count: int = 8, channels: int = 1) -> tuple[Tensor, Tensor]:
    """The same lopsided shape on every picture, and its mask."""
    mask = torch.zeros((SIDE, SIDE), dtype=torch.int64)
    mask[8:30, 12:24], mask[24:30, 12:40] = 1, 1
    images = (mask * 150 + 50).to(torch.uint8)[None, :, :, None].repeat(count, 1, 1, channels)
    return images, mask[None].repeat(count, 1, 1)


def augment(background: int = 50, **values: Any) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return Augmentation(AugmentConfig(**values), background)(*batch())


def test_nothing_configured_changes_nothing() -> None:
    augmentation = Augmentation(AugmentConfig(), 0)
    images, targets = batch()
    assert augmentation(images, targets)[0] is images
    assert not augmentation.steps and repr(augmentation) == "none"


@pytest.mark.parametrize(
    ("values", "axis"), [({"horizontal_flip": 1.0}, 2), ({"vertical_flip": 1.0}, 1)], ids=["horizontal", "vertical"]
)
def test_mirror_images(values: dict[str, Any], axis: int) -> None:
    images, targets = batch()
    found = augment(**values)
    assert torch.equal(found[0], images.flip(axis)) and torch.equal(found[1], targets.flip(axis))


def test_half_of_the_images_are_mirrored_each_on_its_own() -> None:
    torch.manual_seed(0)
    images, targets = batch(200)
    found, masks = Augmentation(AugmentConfig(horizontal_flip=0.5), 0)(images, targets)
    mirrored = (found != images).any(dim=(1, 2, 3))
    assert torch.equal(mirrored, (masks != targets).any(dim=(1, 2)))
    assert 70 <= int(mirrored.sum()) <= 130


@pytest.mark.parametrize("values", [{"rotate": 40.0}, {"translate": 0.2}, {"scale": 0.3}], ids=lambda v: next(iter(v)))
def test_the_mask_goes_where_the_picture_goes(values: dict[str, Any]) -> None:
    # A mask that stayed behind would teach the outline of something else.
    images, targets = batch()
    found, masks = augment(**values)
    assert found.shape == images.shape and found.dtype == torch.uint8
    assert masks.shape == targets.shape and masks.dtype == torch.int64
    assert set(masks.flatten().tolist()) <= {0, 1, IGNORE_INDEX}
    inside = found[..., 0] > 125
    counted = masks != IGNORE_INDEX
    assert (inside[counted] == (masks[counted] == 1)).float().mean() > 0.985
    assert (masks[counted] == 1).float().mean() > 0.05
    # Each image on its own; now and then one is turned by next to nothing.
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > len(masks) / 2


def test_what_comes_in_from_outside_is_background_and_does_not_count() -> None:
    found, masks = augment(background=7, translate=0.4)
    outside = masks == IGNORE_INDEX
    assert outside.any()
    assert (found[..., 0][outside] == 7).float().mean() > 0.95
    assert not (found[..., 0][~outside] == 7).any()


def test_light_leaves_the_mask_alone() -> None:
    images, targets = batch()
    found, masks = augment(brightness=0.5, contrast=0.5)
    assert torch.equal(masks, targets)
    assert not torch.equal(found, images)
    assert len(set(found[:, 20, 20, 0].tolist())) > 4


@pytest.mark.parametrize("channels", [1, 3])
def test_labels_stay(channels: int) -> None:
    images, _ = batch(channels=channels)
    labels = torch.arange(8)
    torch.manual_seed(0)
    config = AugmentConfig(rotate=20.0, brightness=0.2, horizontal_flip=0.5)
    found, same = Augmentation(config, 0)(images, labels)
    assert torch.equal(same, labels) and found.shape == images.shape
    assert not torch.equal(found, images)


def test_the_seed_decides_and_the_input_stays() -> None:
    config = AugmentConfig(rotate=20.0, scale=0.1)
    images, targets = batch()
    before = images.clone()

    def once(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return Augmentation(config, 0)(images, targets)[0]

    assert torch.equal(once(1), once(1)) and not torch.equal(once(1), once(2))
    assert torch.equal(images, before)


def test_a_trial_shows_what_was_done() -> None:
    # `trial.json` holds this text: two trials with other strengths must not look alike.
    texts = {repr(Augmentation(AugmentConfig(rotate=angle), 0)) for angle in (0, 5, 10)}
    assert len(texts) == 3
