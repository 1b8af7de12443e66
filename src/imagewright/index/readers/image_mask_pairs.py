"""A folder of images and a folder of masks: `images/a.png` belongs to `masks/a.png`, whatever the endings."""

from dataclasses import replace
from pathlib import Path

from imagewright.errors import DataError
from imagewright.index.readers.base import SPLITS, FileReader, Sample, files_below, subfolders


class ImageMaskPairReader(FileReader):
    """Reads pairs below `raw`; split folders may lie below both (`images/train`) or above (`train/images`)."""

    def __init__(self, raw: Path, images: str, masks: str) -> None:
        super().__init__(raw)
        self.images = images
        self.masks = masks

    def samples(self) -> list[Sample]:
        """Every image that has a mask.

        Raises:
            DataError: a folder is missing, or an image or a mask stands alone.
        """
        above = [folder for folder in subfolders(self.raw) if self._is_split(folder)]
        if above:
            if (self.raw / self.images).is_dir():
                raise DataError(
                    f"{self.raw}: there are both {self.images}/ and {above[0].name}/{self.images}/",
                    "move one of them away",
                )
            return [sample for folder in above for sample in self._below_split(folder)]
        pairs = matched_pairs(self.raw, self.images, self.masks)
        return [replace(pair, split=SPLITS.get(pair.id.rpartition("/")[0].split("/")[0].lower())) for pair in pairs]

    def _is_split(self, folder: Path) -> bool:
        return folder.name.lower() in SPLITS and any((folder / name).is_dir() for name in (self.images, self.masks))

    def _below_split(self, folder: Path) -> list[Sample]:
        pairs = matched_pairs(self.raw, f"{folder.name}/{self.images}", f"{folder.name}/{self.masks}")
        split = SPLITS[folder.name.lower()]
        return [replace(pair, id=f"{folder.name}/{pair.id}", split=split) for pair in pairs]


def matched_pairs(raw: Path, images: str, masks: str) -> list[Sample]:
    """Match two folders by the names of their files without the ending.

    Args:
        raw: the folder that paths are named from.
        images, masks: folders below it.

    Returns:
        A sample an image, in natural order; its id is the name without the ending.

    Raises:
        DataError: a folder is missing, two files have one name, or an image or a mask stands alone.
    """
    image_of, mask_of = _by_stem(raw, images), _by_stem(raw, masks)
    if lonely := sorted(image_of.keys() ^ mask_of.keys()):
        has, lacks = ("an image", "mask") if lonely[0] in image_of else ("a mask", "image")
        raise DataError(
            f"{raw}: {len(lonely)} names stand alone; {lonely[0]!r} has {has} but no {lacks}",
            f"give every file in {images}/ a partner of the same name in {masks}/, or remove it",
        )
    return [Sample(id=stem, path=path, mask=mask_of[stem]) for stem, path in image_of.items()]


def _by_stem(raw: Path, name: str) -> dict[str, str]:
    folder = raw / name
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder", "put it there, or correct `layout` in config/data/")
    found: dict[str, str] = {}
    for path in files_below(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise DataError(f"{path}: two files are called {stem!r}", "rename one; the ending does not count")
        found[stem] = path.relative_to(raw).as_posix()
    return found
