"""What a person sees while a trial runs, and the curve that stays."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torchmetrics import Metric

from imagewright.errors import EvidenceError


class History(Callback):
    """Writes `history.csv`, a row an epoch, and prints each epoch with the time that is left.

    Args:
        path: the file; written anew after every epoch.
        monitor: the metric to print.
    """

    def __init__(self, path: Path, monitor: str) -> None:
        self.path = path
        self.monitor = monitor
        self.rows: list[dict[str, Any]] = []
        self.started = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Runs after the epoch's validation.

        Raises:
            EvidenceError: a loss holds more or less than this epoch. (The monitored metric is `select`'s to measure.)
        """
        check_fresh("train", module.train_loss, int(trainer.num_training_batches))  # type: ignore[arg-type]
        check_fresh("val", module.val_loss, int(sum(trainer.num_val_batches)))  # type: ignore[arg-type]
        measured = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train/loss": float(module.train_loss.compute()),  # type: ignore[operator, union-attr]
            **dict(sorted(measured.items())),
        }
        self.rows.append(row)
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, row.keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        self._print(row, trainer.max_epochs or 0)

    def _print(self, row: dict[str, Any], epochs: int) -> None:
        each = (time.monotonic() - self.started) / len(self.rows)
        print(
            f"train: epoch {row['epoch']}/{epochs}, loss {row['train/loss']:.4f}, "
            f"val {self.monitor} {row[f'val/{self.monitor}']:.4f}, "
            f"{each:.1f} s an epoch, {each * (epochs - row['epoch']):.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def check_fresh(split: str, loss: Metric, batches: int) -> None:
    """Stop if a loss was not reset when its epoch started, so that the curve would mix epochs.

    Raises:
        EvidenceError: it holds another number of batches than an epoch has.
    """
    if loss.update_count != batches:
        raise EvidenceError(
            f"train: the {split} loss holds {loss.update_count} batches, but an epoch has {batches}",
            "it carries something over from another epoch: reset it when an epoch starts",
        )
