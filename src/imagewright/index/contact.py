"""A contact sheet: a strip of pictures a class, so that a person sees what will be learnt."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from imagewright.config.data import IndexSection
from imagewright.config.tensors import InputConfig
from imagewright.errors import naming
from imagewright.imaging import FULL_DEPTH, load_image, load_mask_values, resize_mask
from imagewright.index.readers import Reader

TILE = 96
COLUMNS = 12
COLUMNS_OF_MANY = 6
MANY = 20
TITLE = 22
THUMBNAIL = InputConfig(height=TILE, width=TILE, colour="rgb", fit="pad", background=235)


def write_contact_sheet(
    reader: Reader, rows: pd.DataFrame, classes: Sequence[str], section: IndexSection, path: Path
) -> None:
    """Draw up to twelve samples of each class, spread evenly over the rows; in masks, the class is marked red.

    Of more than twenty classes it is six samples each, or the file would grow to 25 MB.

    Args:
        reader: gives the bytes.
        rows: the index.
        classes: one strip each, in this order.
        section: names, mask values, depth, and the limit of a picture's size.
        path: the PNG to write.

    Raises:
        DataError: a file can no longer be decoded.
    """
    columns = COLUMNS if len(classes) <= MANY else COLUMNS_OF_MANY
    sheet = Image.new("RGB", (columns * TILE, len(classes) * (TILE + TITLE)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    values, limit = section.mask_values, section.max_pixels
    form = THUMBNAIL.model_copy(update={"depth": section.depth or FULL_DEPTH})
    for strip, name in enumerate(classes):
        if values is None:
            of_class = rows[rows["label"] == name]
        else:
            of_class = rows[[json.loads(counts)[strip] > 0 for counts in rows["mask_counts"]]]
        top = strip * (TILE + TITLE)
        shares = ", ".join(f"{split} {int((of_class['split'] == split).sum())}" for split in ("train", "val", "test"))
        title = f"{name} {section.names.get(name, '')}".strip()
        draw.text((4, top + 3), f"{title}: {len(of_class)} images ({shares})", fill="black", font=font)
        spread = np.unique(np.linspace(0, len(of_class) - 1, min(columns, len(of_class))).astype(int))
        for column, row in enumerate(of_class.iloc[spread].itertuples()):
            with naming(str(row.path)):
                picture = load_image(reader.read(str(row.path)), form, limit).copy()
            if values is not None:
                with naming(str(row.mask)):
                    marked = np.isin(load_mask_values(reader.read(str(row.mask)), limit), values[strip])
                inside = resize_mask(marked.astype(np.uint8), form, outside=0) > 0
                picture[inside] = (picture[inside] * 0.5 + np.array([220, 30, 30]) * 0.5).astype(np.uint8)
            sheet.paste(Image.fromarray(picture), (column * TILE, top + TITLE))
    sheet.save(path, optimize=True)
