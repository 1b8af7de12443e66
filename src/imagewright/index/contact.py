"""A contact sheet: a strip of pictures a class, so that a person sees what will be learnt."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from imagewright.config.tensors import InputConfig
from imagewright.imaging import load_image, load_mask_values, resize_mask
from imagewright.index.readers import Reader

TILE = 96
COLUMNS = 12
TITLE = 22
THUMBNAIL = InputConfig(height=TILE, width=TILE, colour="rgb", fit="pad", background=235)


def write_contact_sheet(
    reader: Reader, rows: pd.DataFrame, classes: Sequence[str], values: dict[str, int] | None, path: Path
) -> None:
    """Draw up to twelve samples of each class, spread evenly over the rows; in masks, the class is marked red.

    Args:
        reader: gives the bytes.
        rows: the index.
        classes: one strip each, in this order.
        values: mask value of each class (segmentation).
        path: the PNG to write.
    """
    sheet = Image.new("RGB", (COLUMNS * TILE, len(classes) * (TILE + TITLE)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for strip, name in enumerate(classes):
        if values is None:
            of_class = rows[rows["label"] == name]
        else:
            position = list(classes).index(name)
            of_class = rows[[json.loads(counts)[position] > 0 for counts in rows["mask_counts"]]]
        top = strip * (TILE + TITLE)
        shares = ", ".join(f"{split} {int((of_class['split'] == split).sum())}" for split in ("train", "val", "test"))
        draw.text((4, top + 3), f"{name}: {len(of_class)} images ({shares})", fill="black", font=font)
        spread = np.unique(np.linspace(0, len(of_class) - 1, min(COLUMNS, len(of_class))).astype(int))
        for column, row in enumerate(of_class.iloc[spread].itertuples()):
            picture = load_image(reader.read(str(row.path)), THUMBNAIL).copy()
            if values is not None:
                marked = (load_mask_values(reader.read(str(row.mask))) == values[name]).astype(np.uint8)
                inside = resize_mask(marked, THUMBNAIL, outside=0) > 0
                picture[inside] = (picture[inside] * 0.5 + np.array([220, 30, 30]) * 0.5).astype(np.uint8)
            sheet.paste(Image.fromarray(picture), (column * TILE, top + TITLE))
    sheet.save(path, optimize=True)
