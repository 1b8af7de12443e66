"""The picture of a training's epochs."""

from pathlib import Path

import pytest

from imagewright.train.curves import draw_curves

ROWS = [
    {"epoch": epoch, "train/loss": 1 / epoch, "val/loss": 1.5 / epoch, "val/accuracy": 0.2 * epoch}
    for epoch in range(1, 4)
]


def drawn(folder: Path, epochs: int, chosen: int) -> bytes:
    draw_curves(ROWS[:epochs], "accuracy", chosen, folder / "curves.png")
    return (folder / "curves.png").read_bytes()


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_same_training_gives_the_same_bytes(tmp_path: Path, epochs: int) -> None:
    assert drawn(tmp_path, epochs, 1) == drawn(tmp_path, epochs, 1)


def test_the_chosen_epoch_is_marked(tmp_path: Path) -> None:
    assert drawn(tmp_path, 3, 2) != drawn(tmp_path, 3, 3)
