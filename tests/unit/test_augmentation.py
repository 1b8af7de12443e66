"""Augmentation: a picture and its mask move as one, each image on its own, and nothing of it is ever the same twice."""

import imagewright.models  # noqa: F401, I001  # First of all: makes torchvision importable.

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imagewright.config.train import AugmentConfig
from imagewright.errors import ConfigError
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
    return Augmentation(AugmentConfig(**values), background, 2)(*batch())


def test_nothing_configured_changes_nothing() -> None:
    augmentation = Augmentation(AugmentConfig(), 0, 2)
    images, targets = batch()
    assert augmentation(images, targets)[0] is images
    assert not augmentation.active and repr(augmentation) == "none"


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
    found, masks = Augmentation(AugmentConfig(horizontal_flip=0.5), 0, 2)(images, targets)
    mirrored = (found != images).any(dim=(1, 2, 3))
    assert torch.equal(mirrored, (masks != targets).any(dim=(1, 2)))
    assert 70 <= int(mirrored.sum()) <= 130


@pytest.mark.parametrize(
    "values",
    [{"rotate": 40.0}, {"translate": 0.2}, {"scale": 0.3}, {"shear": 30.0}, {"crop": 0.5}],
    ids=lambda values: next(iter(values)),
)
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
    found, same = Augmentation(config, 0, 8)(images, labels)
    assert torch.equal(same, labels) and found.shape == images.shape
    assert not torch.equal(found, images)


def test_the_seed_decides_and_the_input_stays() -> None:
    config = AugmentConfig(rotate=20.0, scale=0.1)
    images, targets = batch()
    before = images.clone()

    def once(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return Augmentation(config, 0, 8)(images, targets)[0]

    assert torch.equal(once(1), once(1)) and not torch.equal(once(1), once(2))
    assert torch.equal(images, before)


MOVES = {
    "crop": 0.4,
    "horizontal_flip": 0.5,
    "vertical_flip": 0.5,
    "rotate": 90.0,
    "translate": 0.3,
    "scale": 0.4,
    "shear": 20.0,
}
LIGHT = {
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.5,
    "hue": 0.2,
    "equalize": 0.5,
    "blur": 0.5,
    "noise": 0.1,
}
MIXES = {"mixup": 0.4, "cutmix": 1.0}


def drawn(values: dict[str, float], part: st.DataObject) -> dict[str, float]:
    chosen = part.draw(st.sets(st.sampled_from(sorted(values)), min_size=1))
    return {name: values[name] for name in chosen}


def noise_batch(seed: int, channels: int = 3, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Pictures of nothing, 20 × 26, and masks of every class and of what does not count."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (3, 20, 26, channels), generator=generator, dtype=torch.uint8)
    masks = torch.randint(-1, classes, (3, 20, 26), generator=generator)
    return images, torch.where(masks < 0, IGNORE_INDEX, masks)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000), window=st.sampled_from([None, (16, 12)]))
def test_masks_get_no_new_values(data: st.DataObject, seed: int, window: tuple[int, int] | None) -> None:
    # A class between two classes is another class.
    images, masks = noise_batch(seed)
    masks[masks == 3] = 2
    torch.manual_seed(seed)
    augmentation = Augmentation(AugmentConfig(**drawn(MOVES | LIGHT, data)), 0, 5, window)
    found, moved = augmentation(images, masks)
    size = window or (20, 26)
    assert found.shape == (3, *size, 3) and found.dtype == torch.uint8
    assert moved.shape == (3, *size) and moved.dtype == torch.int64
    assert set(moved.flatten().tolist()) <= {0, 1, 2, 4, IGNORE_INDEX}


@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_light_noise_and_blur_never_touch_a_mask(data: st.DataObject, seed: int) -> None:
    images, masks = noise_batch(seed)
    torch.manual_seed(seed)
    before = images.clone(), masks.clone()
    found, same = Augmentation(AugmentConfig(**drawn(LIGHT, data)), 0, 5)(images, masks)
    assert torch.equal(same, masks) and found.shape == images.shape and found.dtype == torch.uint8
    assert torch.equal(images, before[0]) and torch.equal(masks, before[1])


def test_a_window_is_cut_from_picture_and_mask_alike() -> None:
    places = torch.arange(20 * 26).reshape(20, 26)
    images, masks = (places % 251).to(torch.uint8)[None, :, :, None].repeat(30, 1, 1, 1), places[None].repeat(30, 1, 1)
    torch.manual_seed(0)
    augmentation = Augmentation(AugmentConfig(), 0, 5, (16, 12))
    assert augmentation.active
    found, cut = augmentation(images, masks)
    assert torch.equal(found[..., 0], (cut % 251).to(torch.uint8))
    assert len({int(mask[0, 0]) for mask in cut}) > 10
    assert torch.equal(cut - cut[:, :1, :1], (places[:16, :12])[None].expand(30, -1, -1))


def test_a_crop_keeps_its_share() -> None:
    # A ramp from 0 to 250: how much of it is left says how much of the picture is.
    images = torch.arange(0, 251, 5, dtype=torch.uint8).repeat(51, 1)[None, :, :, None].repeat(200, 1, 1, 1)
    torch.manual_seed(0)
    found, _ = Augmentation(AugmentConfig(crop=0.5), 0, 2)(images, torch.zeros(200, dtype=torch.int64))
    shares = (found.amax(dim=(1, 2, 3)).int() - found.amin(dim=(1, 2, 3)).int()) / 250
    # A side of a crop with half of the area and a ratio of 3:4 is 0.61 of the picture's.
    assert found.shape == images.shape and 0.55 < shares.min() < 0.75 and shares.max() > 0.95


def test_noise_is_as_strong_as_it_says() -> None:
    images = torch.full((2, 200, 200, 1), 128, dtype=torch.uint8)
    torch.manual_seed(0)
    for share in (0.01, 0.1):
        found, _ = Augmentation(AugmentConfig(noise=share), 0, 2)(images, torch.zeros(2, dtype=torch.int64))
        # Rounding to whole grey values adds a twelfth to the variance.
        assert found.float().std().item() == pytest.approx(((share * 255) ** 2 + 1 / 12) ** 0.5, rel=0.02)
        assert found.float().mean().item() == pytest.approx(128, abs=0.3)
        assert not torch.equal(found[0], found[1])


def test_a_levelled_histogram_and_a_blur() -> None:
    images, masks = batch()
    torch.manual_seed(0)
    levelled, _ = Augmentation(AugmentConfig(equalize=1.0), 0, 2)(images, masks)
    assert set(levelled.flatten().tolist()) == {0, 255}
    blurred, _ = Augmentation(AugmentConfig(blur=1.0), 0, 2)(images, masks)
    assert len(set(blurred.flatten().tolist())) > 10


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_labels_say_how_the_picture_was_mixed(name: str) -> None:
    labels = torch.arange(4)
    images = (labels * 60).to(torch.uint8)[:, None, None, None].repeat(1, 32, 32, 3)
    torch.manual_seed(0)
    augmentation = Augmentation(AugmentConfig(**{name: 1.0}), 0, 4)
    assert augmentation.active
    found, shares = augmentation(images, labels)
    assert found.shape == images.shape and found.dtype == torch.uint8
    assert shares.shape == (4, 4) and shares.dtype == torch.float32
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    assert (shares > 0).sum() == 8
    # Each class has its own grey, so that the mean grey tells the shares.
    means = found.float().mean(dim=(1, 2, 3))
    torch.testing.assert_close(means, (shares * torch.arange(4) * 60).sum(dim=1), atol=0.6, rtol=0)


def test_one_mix_is_chosen_for_each_batch() -> None:
    images = (torch.arange(4) * 60).to(torch.uint8)[:, None, None, None].repeat(1, 32, 32, 1)
    augmentation = Augmentation(AugmentConfig(mixup=1.0, cutmix=1.0), 0, 4)
    torch.manual_seed(0)
    pasted = [set(augmentation(images, torch.arange(4))[0].flatten().tolist()) <= {0, 60, 120, 180} for _ in range(40)]
    assert 8 < sum(pasted) < 32


@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000), masks=st.booleans())
def test_pytorchs_generator_alone_decides(data: st.DataObject, seed: int, masks: bool) -> None:
    # It is what a checkpoint saves; a number drawn elsewhere would make a resumed training another training.
    values = drawn(MOVES | LIGHT | ({} if masks else MIXES), data)
    images, targets = noise_batch(seed)
    augmentation = Augmentation(AugmentConfig(**values), 0, 5)
    results = []
    for other in (1, 2):
        random.seed(other)
        np.random.seed(other)  # noqa: NPY002
        torch.manual_seed(seed)
        before = random.getstate(), str(np.random.get_state())  # noqa: NPY002
        results.append(augmentation(images, targets if masks else torch.arange(3)))
        assert before == (random.getstate(), str(np.random.get_state()))  # noqa: NPY002
    assert all(torch.equal(one, same) for one, same in zip(*results, strict=True))


@pytest.mark.parametrize("values", [{"saturation": 0.2}, {"hue": 0.1}], ids=lambda values: next(iter(values)))
def test_colours_of_grey_pictures_are_refused(values: dict[str, Any]) -> None:
    # They would change nothing, and a sweep over them would compare nothing.
    with pytest.raises(ConfigError, match="the pictures are grey") as caught:
        Augmentation(AugmentConfig(**values), 0, 2, channels=1)
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(ConfigError, match="the pictures are grey"):
        Augmentation(AugmentConfig(**values), 0, 2)(*batch(channels=1))


@pytest.mark.parametrize("name", MIXES)
def test_mixed_masks_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="the targets are masks") as caught:
        Augmentation(AugmentConfig(**{name: 1.0}), 0, 2, task="segmentation")
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(ConfigError, match="the targets are masks"):
        Augmentation(AugmentConfig(**{name: 1.0}), 0, 2)(*batch())


def test_a_trial_shows_what_was_done() -> None:
    # `trial.json` holds this text: two trials with other strengths must not look alike.
    every = MOVES | LIGHT | MIXES
    assert set(every) == set(AugmentConfig.model_fields)
    texts = {repr(Augmentation(AugmentConfig(), 0, 2)), repr(Augmentation(AugmentConfig(), 0, 2, (16, 12)))}
    for name, value in every.items():
        for strength in (value, value / 2):
            texts.add(repr(Augmentation(AugmentConfig(**{name: strength}), 0, 2)))
    assert len(texts) == 2 + 2 * len(every)
    assert all("\n" not in text and "object at" not in text for text in texts)
    # Pictures that went through leave no trace: with loading workers they go through in another process.
    augmentation = Augmentation(AugmentConfig(**MOVES, **LIGHT), 0, 5)
    before = repr(augmentation)
    augmentation(*noise_batch(0))
    assert repr(augmentation) == before
