"""Augmentation stored with the tensors: validation and test would be scored on pictures that nobody took."""

import pytest
from conftest import Project
from stopped import DIGITS, check_passes, check_stopped

WRITE = "src/imagewright/tensors/write.py"
TENSORS = ("results/tensors/digits8-gray16/meta.json", "results/tensors/digits8-gray16/test.images.npy")

DECODED = "            return load_image(self.reader.read(row.path), self.section.input, self.section.max_pixels)\n"
STORED = "        stored_images[position], stored_targets[position] = image, target\n"
FLIP = "image[:, ::-1] if {chance} else image\n"


def in_encoder(chance: str) -> tuple[str, str]:
    return DECODED, DECODED.replace("return", "image =") + "            return " + FLIP.format(chance=chance)


@pytest.mark.parametrize(
    ("edit", "split"),
    [
        pytest.param(in_encoder("np.random.random() < 0.5"), "train", id="random"),
        # Comes out the same a second time, so that decoding again with the same code would show nothing.
        pytest.param(in_encoder("np.random.default_rng(row.bytes).random() < 0.5"), "train", id="seeded"),
        pytest.param(in_encoder("row.split == 'train' and row.bytes % 2"), "train", id="train-only"),
        pytest.param(in_encoder("row.split == 'test'"), "test", id="test-only", marks=pytest.mark.proof),
        pytest.param(
            (STORED, "        image = " + FLIP.format(chance="position % 2") + STORED), "train", id="by-the-writer"
        ),
    ],
)
def test_flipped_pictures_are_not_stored(built: Project, project: Project, edit: tuple[str, str], split: str) -> None:
    project.edit(WRITE, *edit)
    done = project.snakemake("tensors_all", *DIGITS)
    check_stopped(project, done, f"tensors, split {split}", ".png", "nothing random", absent=TENSORS)
    check_passes(built, *TENSORS)
