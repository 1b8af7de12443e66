"""What a person sees while a trial runs, and the curve that stays."""

import csv
import sys
import time
from pathlib import Path
from typing import Any


class History:
    """Keeps a row an epoch, writes them to `history.csv`, and prints each with the time that is left.

    Args:
        path: the file, written anew after every epoch; none in a process that only helps.
        monitor: the metric to print.
        epochs: in all.

    Attributes:
        rows: one an epoch, in order.
    """

    def __init__(self, path: Path | None, monitor: str, epochs: int) -> None:
        self.path = path
        self.monitor = monitor
        self.epochs = epochs
        self.rows: list[dict[str, Any]] = []
        self.started = time.monotonic()
        self.added = 0

    def add(self, row: dict[str, Any]) -> None:
        """Add an epoch: `epoch`, `train/loss`, `val/<metric>` and others."""
        self.rows.append(row)
        self.added += 1
        if self.path is None:
            return
        self._write(self.path)
        each = (time.monotonic() - self.started) / self.added
        print(
            f"train: epoch {row['epoch']}/{self.epochs}, loss {row['train/loss']:.4f}, "
            f"val {self.monitor} {row[f'val/{self.monitor}']:.4f}, "
            f"{each:.1f} s an epoch, {each * (self.epochs - row['epoch']):.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def _write(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
