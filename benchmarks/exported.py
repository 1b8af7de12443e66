"""A classifier with random weights, exported as the workflow does, for benchmarks of what answers."""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from imagewright.config.export import ExportConfig, Int8
from imagewright.export.write import export_model
from imagewright.files import write_json
from imagewright.models.build import ModelSpec
from imagewright.models.network import build_network, save_weights

CHANNELS = 3


def photographs(count: int, height: int = 240, width: int = 320, seed: int = 0) -> list[bytes]:
    """JPEG files: pieces of the two photographs that come with scikit-learn."""
    generator = np.random.default_rng(seed)
    photos = load_sample_images().images
    files = []
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (
            generator.integers(0, most - part) for most, part in zip(photo.shape, (height, width), strict=False)
        )
        content = io.BytesIO()
        Image.fromarray(photo[top : top + height, left : left + width]).save(content, "JPEG", quality=90)
        files.append(content.getvalue())
    return files


def export_classifier(name: str, side: int, classes: int, pictures: NDArray[np.uint8], root: Path) -> None:
    """Write `selected/` and `exported/` of a model of timm's.

    Args:
        name: timm's.
        side: of the pictures, in pixels.
        classes: how many there are.
        pictures: N × side × side × 3, uint8, which the 8-bit file is calibrated with.
        root: the folder to write to.
    """
    torch.manual_seed(0)
    for folder in ("selected", "tensors", "exported"):
        (root / folder).mkdir(parents=True)
    spec = ModelSpec("timm", name, CHANNELS, classes, "classification", side, side)
    normalisation = {"mean": [0.5] * CHANNELS, "std": [0.25] * CHANNELS}
    save_weights(build_network(spec, normalisation["mean"], normalisation["std"]), root / "selected/model.safetensors")
    form = {"height": side, "width": side, "colour": "rgb", "fit": "crop", "background": 0}
    selection = {"model": spec.to_dict(), "input": form, "max_pixels": 10**8, "temperature": 1.0, "ignore": []}
    selection |= {"task": "classification", "classes": [str(number) for number in range(classes)], "names": {}}
    selection |= {"normalisation": normalisation, "pretrained": None}
    write_json(root / "selected/selection.json", selection)
    np.save(root / "tensors/train.images.npy", pictures)
    np.save(root / "tensors/train.targets.npy", np.zeros(len(pictures), np.int64))
    config = ExportConfig(int8=Int8(images=len(pictures)))
    export_model(config, root / "selected", root / "tensors", root / "exported")
