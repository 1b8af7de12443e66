"""Masks scaled as if they were light: a team would train a segmenter on a tumour that is 0 here and 1 there."""

import numpy as np
import pytest
from conftest import Project
from PIL import Image
from stopped import SHAPES, check_passes, check_stopped

IMAGING = "src/imagewright/imaging.py"
WRITE = "src/imagewright/tensors/write.py"
INDEX = ("results/index/shapes/index.parquet", "results/index/shapes/report.json")
TENSORS = ("results/tensors/shapes-gray32/meta.json", "results/tensors/shapes-gray32/train.targets.npy")

LOADED = "    return values.astype(np.int64)\n\n\ndef resize_mask"
LOOKED_UP = "        indices = np.full(values.shape, IGNORED, np.uint8)\n"
STORED = "        stored_images[position], stored_targets[position] = image, target\n"


def scaled_to(most: int) -> str:
    return f"(values - values.min()) * {most} // max(int(values.max() - values.min()), 1)"


def stretched(project: Project, most: int) -> None:
    """Every mask is stretched over the range from 0 to `most`, as images often are, where it is loaded."""
    project.edit(IMAGING, LOADED, f"    values = values.astype(np.int64)\n    values = {scaled_to(most)}\n{LOADED}")


def test_stretched_to_light_where_loaded(built: Project, project: Project) -> None:
    stretched(project, 255)
    done = project.snakemake("index_all", *SHAPES)
    check_stopped(project, done, "undeclared values", "masks/00.png", "[255]", absent=INDEX)
    assert (project.root / "logs/index/shapes/undeclared-mask-values.csv").is_file()
    check_passes(built, *INDEX)


def test_stretched_to_declared_values_where_loaded(built: Project, project: Project) -> None:
    # The treacherous one: each value is declared, and the index reads the masks with the same function.
    stretched(project, 2)
    done = project.snakemake("tensors_all", *SHAPES)
    check_stopped(project, done, "tensors", "known mask", "must not be scaled", absent=TENSORS)
    check_passes(built, *TENSORS)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        pytest.param(WRITE, LOOKED_UP, f"        values = {scaled_to(2)}\n{LOOKED_UP}", id="stretched-by-the-encoder"),
        pytest.param(
            WRITE, LOOKED_UP, f"        values = (values / 255).astype(np.int64)\n{LOOKED_UP}",
            id="made-0-to-1", marks=pytest.mark.proof,
        ),
        pytest.param(
            IMAGING, "Image.Resampling.NEAREST, outside", "Image.Resampling.BILINEAR, outside", id="interpolated"
        ),
        pytest.param(
            IMAGING, "Image.Resampling.NEAREST, outside", "Image.Resampling.BOX, outside",
            id="averaged", marks=pytest.mark.proof,
        ),
        pytest.param(
            WRITE, LOOKED_UP, f"        values = (values > 0).astype(np.int64)\n{LOOKED_UP}",
            id="made-binary", marks=pytest.mark.proof,
        ),
    ],
)  # fmt: skip
def test_scaled_on_the_way_to_tensors(built: Project, project: Project, path: str, old: str, new: str) -> None:
    project.edit(path, old, new)
    done = project.snakemake("tensors_all", *SHAPES)
    check_stopped(project, done, "tensors", "known mask", "must not be scaled", absent=TENSORS)
    check_passes(built, *TENSORS)


@pytest.mark.slow
def test_scaled_by_the_writer_alone(built: Project, project: Project) -> None:
    # The encoder is right, so only what is read back from the disk shows it.
    project.edit(WRITE, STORED, f"        target = target * 255\n{STORED}")
    done = project.snakemake("tensors_all", *SHAPES)
    check_stopped(project, done, "tensors, split", "target stored for images/", absent=TENSORS)
    check_passes(built, *TENSORS)


def test_scaled_before_they_came(built: Project, project: Project) -> None:
    for path in (project.root / "data/raw/shapes/masks").glob("*.png"):
        Image.fromarray((np.asarray(Image.open(path)) * 127).astype(np.uint8)).save(path)
    done = project.snakemake("index_all", *SHAPES)
    check_stopped(project, done, "48 masks", "undeclared values", "masks/00.png", "127", "config/data/", absent=INDEX)
    check_passes(built, *INDEX)
