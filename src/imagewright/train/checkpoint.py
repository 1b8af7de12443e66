"""One file with all that a training needs to go on as if it had never stopped."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import torch

FILE = "last.pt"


class Checkpoint:
    """The last checkpoint of a trial, outside of its declared outputs.

    Args:
        folder: `runs/train/<experiment>/<trial>`; made when something is saved.
        key: hash of the config, the data, the code and the environment: a checkpoint of anything else is no
            beginning for this training.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` aside, then put it in place: there is always one whole checkpoint, however a job dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{FILE}.partial"
        torch.save({"key": self.key, **state}, aside)
        aside.replace(self.folder / FILE)

    def load(self) -> dict[str, Any] | None:
        """The state to go on from, or none; a checkpoint that belongs to another training is passed over, aloud."""
        path = self.folder / FILE
        if not path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a torn or foreign file makes the reader raise
            print(f"train: {path} cannot be read ({type(error).__name__}); starting afresh", file=sys.stderr)
            return None
        if state.get("key") != self.key:
            print(f"train: {path} belongs to other code, config or data; starting afresh", file=sys.stderr)
            return None
        return state


def clear(folder: Path) -> None:
    """Remove a checkpoint: the training is done and its outputs are in place."""
    for name in (FILE, f".{FILE}.partial"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else lies there, or nothing ever did
        folder.rmdir()
