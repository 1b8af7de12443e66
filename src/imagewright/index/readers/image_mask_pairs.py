"""A folder of images and a folder of masks: `images/a.png` belongs to `masks/a.png`, whatever the endings."""

from pathlib import Path

from imagewright.errors import DataError
from imagewright.index.readers.base import SPLITS, Sample, files_below


class ImageMaskPairReader:
    """Reads pairs below `raw`; a folder right below `images` called `train`, `val` or `test` gives the split."""

    def __init__(self, raw: Path, images: str, masks: str) -> None:
        self.raw = raw
        self.images = images
        self.masks = masks

    def samples(self) -> list[Sample]:
        """Every image that has a mask.

        Raises:
            DataError: a folder is missing, or an image and a mask stand alone.
        """
        images, masks = self._by_stem(self.images), self._by_stem(self.masks)
        if lonely := sorted(images.keys() ^ masks.keys()):
            has, lacks = ("an image", "mask") if lonely[0] in images else ("a mask", "image")
            raise DataError(
                f"{self.raw}: {len(lonely)} names stand alone; {lonely[0]!r} has {has} but no {lacks}",
                f"give every file in {self.images}/ a partner of the same name in {self.masks}/, or remove it",
            )
        samples = []
        for stem, path in images.items():
            first = stem.split("/")[0].lower() if "/" in stem else ""
            samples.append(Sample(id=stem, path=path, mask=masks[stem], split=SPLITS.get(first)))
        return samples

    def read(self, path: str) -> bytes:
        """A file's bytes."""
        return (self.raw / path).read_bytes()

    def _by_stem(self, name: str) -> dict[str, str]:
        folder = self.raw / name
        if not folder.is_dir():
            raise DataError(
                f"{folder}: there is no such folder", "correct layout.images or layout.masks in config/data/"
            )
        found: dict[str, str] = {}
        for path in files_below(folder):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in found:
                raise DataError(f"{path}: two files are called {stem!r}", "rename one; the ending does not count")
            found[stem] = path.relative_to(self.raw).as_posix()
        return found
