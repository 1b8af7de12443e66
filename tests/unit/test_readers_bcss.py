"""Tissue in regions and in tiles: every pixel is seen, patients stay whole, and 0 is never background."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from public_data import noise, save, shipped

from imagewright.config.layout import Bcss
from imagewright.errors import DataError
from imagewright.imaging import load_mask_values, load_pixels
from imagewright.index.inspect import inspect_samples
from imagewright.index.readers import Reader, Sample, bcss, open_reader

SLIDE = "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500"
OTHER = "TCGA-A2-A04P-DX1_xmin1_ymin1_MPP-0.2500"
CODES = 22


def region(raw: Path, name: str, height: int, width: int, images: str = "rgbs_colorNormalized") -> tuple[Any, Any]:
    image, mask = noise(height, width, 3), noise(height, width, seed=1) % CODES
    save(raw / images / f"{name}.png", image)
    save(raw / "masks" / f"{name}.png", mask)
    return image, mask


def reader(raw: Path, **layout: Any) -> Reader:
    return open_reader(Bcss.model_validate({"kind": "bcss"} | layout), raw)


def boxes(samples: list[Sample]) -> list[str]:
    return [sample.path.rpartition("#")[2] for sample in samples]


@pytest.mark.parametrize("images", ["rgbs_colorNormalized", "images"])
def test_a_region_is_cut_into_tiles(tmp_path: Path, images: str) -> None:
    image, mask = region(tmp_path, SLIDE, 20, 40, images)
    found = reader(tmp_path, tile=16)
    samples = found.samples()
    assert boxes(samples) == [f"{left},{top},16,16" for top in (0, 4) for left in (0, 16, 24)]
    assert samples[1] == Sample(
        f"{SLIDE}#16,0,16,16",
        f"{images}/{SLIDE}.png#16,0,16,16",
        mask=f"masks/{SLIDE}.png#16,0,16,16",
        group="TCGA-A1-A0SK",
    )
    for sample in samples:
        left, top, width, height = map(int, boxes([sample])[0].split(","))
        place = slice(top, top + height), slice(left, left + width)
        assert np.array_equal(load_pixels(found.read(sample.path)), image[place])
        assert np.array_equal(load_mask_values(found.read(str(sample.mask))), mask[place])


@pytest.mark.parametrize(
    ("side", "tile", "stride", "starts"),
    [
        (32, 16, 16, [0, 16]),
        (33, 16, 16, [0, 16, 17]),
        (16, 16, 16, [0]),
        (10, 16, 16, [0]),
        (32, 16, 8, [0, 8, 16]),
        (40, 8, 20, [0, 20, 32]),
    ],
)
def test_tiles_reach_the_edge(tmp_path: Path, side: int, tile: int, stride: int, starts: list[int]) -> None:
    region(tmp_path, SLIDE, 8, side)
    found = boxes(reader(tmp_path, tile=tile, stride=stride).samples())
    assert found == [f"{left},0,{min(tile, side)},{min(tile, 8)}" for left in starts]


def test_tiles_of_one_region_decode_it_once(tmp_path: Path) -> None:
    region(tmp_path, SLIDE, 64, 64)
    found = reader(tmp_path, tile=8)
    samples = found.samples()
    bcss._image_region.cache_clear()
    bcss._mask_region.cache_clear()
    for sample in samples:
        found.read(sample.path)
        found.read(str(sample.mask))
    assert len(samples) == 64
    assert bcss._image_region.cache_info().misses == bcss._mask_region.cache_info().misses == 1


def test_a_region_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    region(tmp_path, SLIDE, 16, 16)
    found = reader(tmp_path, tile=16)
    found.read(found.samples()[0].path)
    image = noise(16, 16, 3, seed=5)
    image[8:] = 0
    save(tmp_path / f"rgbs_colorNormalized/{SLIDE}.png", image)
    assert np.array_equal(load_pixels(found.read(found.samples()[0].path)), image)


@pytest.mark.parametrize("kind", ["palette", "16 bits"])
def test_mask_values_are_no_colours(tmp_path: Path, kind: str) -> None:
    _, mask = region(tmp_path, SLIDE, 20, 20)
    path = tmp_path / f"masks/{SLIDE}.png"
    if kind == "palette":
        drawn = Image.fromarray(mask).convert("P")
        drawn.putdata(mask.ravel().tolist())
        drawn.putpalette(noise(CODES * 3).tolist())
        drawn.save(path)
        expected = mask.astype(np.int64)
    else:
        expected = mask.astype(np.int64) * 1000
        save(path, expected.astype(np.uint16))
    found = reader(tmp_path, tile=16)
    tile = found.samples()[-1]
    assert np.array_equal(load_mask_values(found.read(str(tile.mask))), expected[4:, 4:])


def test_regions_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    region(tmp_path, SLIDE, 16, 16)
    region(tmp_path, OTHER, 16, 16)
    (tmp_path / f"rgbs_colorNormalized/{OTHER}.png").write_bytes(b"a note")
    third = SLIDE.replace("A0SK", "A0SM")
    region(tmp_path, third, 16, 16)
    save(tmp_path / f"masks/{third}.png", np.zeros((8, 8), np.uint8))
    found = reader(tmp_path, tile=16)
    seen = inspect_samples(found, found.samples(), [list(range(CODES))], 10_000, 1).set_index("group")["problem"]
    assert seen["TCGA-A1-A0SK"] == ""
    assert "no picture" in seen["TCGA-A2-A04P"]
    assert "8x8 pixels, but its image is 16x16" in seen["TCGA-A1-A0SM"]


@pytest.mark.parametrize("form", ["{split}/{name}|{split}_mask/{name}", "{split}/images/{name}|{split}/masks/{name}"])
def test_ready_tiles(tmp_path: Path, form: str) -> None:
    image, mask = form.split("|")
    for split, slide in (("train", SLIDE), ("val", OTHER)):
        save(tmp_path / image.format(split=split, name=f"{slide}_0.png"), noise(8, 8, 3))
        save(tmp_path / mask.format(split=split, name=f"{slide}_0.png"), noise(8, 8))
    found = reader(tmp_path)
    assert found.samples() == [
        Sample(
            f"{split}/{slide}_0",
            image.format(split=split, name=f"{slide}_0.png"),
            mask=mask.format(split=split, name=f"{slide}_0.png"),
            split=split,
            group=slide[:12],
        )
        for split, slide in (("train", SLIDE), ("val", OTHER))
    ]


def test_a_tile_without_a_mask(tmp_path: Path) -> None:
    save(tmp_path / f"train/{SLIDE}_0.png", noise(8, 8, 3))
    save(tmp_path / f"train_mask/{SLIDE}_1.png", noise(8, 8))
    with pytest.raises(DataError, match="2 names stand alone"):
        reader(tmp_path).samples()


def test_a_name_without_a_patient(tmp_path: Path) -> None:
    region(tmp_path, "tile_1", 8, 8)
    with pytest.raises(DataError, match=r"tile_1.png: the name does not say the patient"):
        reader(tmp_path).samples()


def test_neither_form_and_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is neither rgbs_colorNormalized/ nor images/"):
        reader(tmp_path)
    region(tmp_path, SLIDE, 8, 8)
    region(tmp_path, SLIDE, 8, 8, "images")
    with pytest.raises(DataError, match=r"there are both rgbs_colorNormalized/ and images/"):
        reader(tmp_path)


@pytest.mark.parametrize("ignore", [[], ["stroma"]])
@pytest.mark.parametrize("name", ["tissue", "tissue-regions"])
def test_what_lies_outside_is_never_background(name: str, ignore: list[str]) -> None:
    assert shipped(name).ignore == ["outside_roi"]
    with pytest.raises(ValueError, match="0 means outside of the region"):
        shipped(name, ignore=ignore)


def test_the_shipped_classes_cover_all_codes_once() -> None:
    values = [value for of_class in shipped("tissue-regions").mask_values or [] for value in of_class]
    assert sorted(values) == list(range(CODES))
