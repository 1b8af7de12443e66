"""Train one trial and record it."""

import logging
import math
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from imagewright.config.train import TrainSection
from imagewright.errors import EvidenceError, ModelError
from imagewright.files import write_json
from imagewright.models.build import ModelSpec
from imagewright.models.network import build_network, save_weights
from imagewright.tensors.dataset import Batch, TensorSplit, read_meta
from imagewright.train.augmentation import Augmentation
from imagewright.train.history import History
from imagewright.train.losses import build_loss
from imagewright.train.module import TrialModule
from imagewright.train.record import effective_values, environment


def train_trial(section: TrainSection, tensors: Path, out: Path) -> None:
    """Train, keep the weights of the best epoch on val, and write `model.safetensors`, `history.csv`, `trial.json`.

    Args:
        section: model, loss, optimizer, augmentation and training.
        tensors: what `tensors` wrote.
        out: the folder to write to.

    Raises:
        ModelError: the model, loss or optimizer cannot be built, or the loss is not a number.
        EvidenceError: a loader read another split than it should have.
    """
    settings = section.train
    torch.set_num_threads(settings.threads)
    _quiet()
    seed_everything(settings.seed, workers=True, verbose=False)
    meta = read_meta(tensors)
    spec = _model_spec(section, meta)
    module = TrialModule(
        build_network(spec, meta["mean"], meta["std"]),
        build_loss(section.loss),
        section.optimizer,
        meta["task"],
        meta["classes"],
        meta["ignore"],
    )
    train_loader, val_loader = build_loaders(section, tensors, meta)
    history = History(out / "history.csv", settings.monitor)
    with tempfile.TemporaryDirectory(dir=out) as checkpoints:
        best = ModelCheckpoint(
            checkpoints, monitor=f"val/{settings.monitor}", mode="max", save_top_k=1, save_weights_only=True
        )
        trainer = _build_trainer(section, [history, best, *_callbacks(section)])
        trainer.fit(module, train_loader, val_loader)
        if not math.isfinite(history.rows[-1]["train/loss"]):
            raise ModelError("the training loss is not a number", "lower optimizer.lr, or set train.gradient_clip")
        stored = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(stored["state_dict"])
    save_weights(module.network, out / "model.safetensors")
    effective = effective_values(trainer, module)
    check_splits(effective, meta)
    write_json(
        out / "trial.json",
        {
            "task": meta["task"],
            "classes": meta["classes"],
            "ignore": meta["ignore"],
            "input": meta["input"],
            "max_pixels": meta["max_pixels"],
            "model": spec.to_dict(),
            "monitor": settings.monitor,
            "best": {"epoch": stored["epoch"] + 1, "value": float(best.best_model_score or math.nan)},
            "epochs_run": len(history.rows),
            "steps": trainer.global_step,
            "seed": settings.seed,
            "effective": effective,
            "environment": environment(),
        },
    )


def build_loaders(section: TrainSection, tensors: Path, meta: dict[str, Any]) -> tuple[Any, Any]:
    """The train loader, shuffled and augmented, and the val loader, in order and as stored."""
    settings = section.train
    augmentation = Augmentation(section.augment, meta["input"]["background"])
    train = TensorSplit(tensors, "train", augmentation if augmentation.steps else None)
    val = TensorSplit(tensors, "val")
    generator = torch.Generator().manual_seed(settings.seed)
    # A last batch of one image would break batch norm, so what does not fill a batch waits for the next epoch.
    drop_last = len(train) >= settings.batch_size
    shuffled = BatchSampler(RandomSampler(train, generator=generator), settings.batch_size, drop_last)
    in_order = BatchSampler(SequentialSampler(val), settings.batch_size, drop_last=False)
    return _loader(train, shuffled), _loader(val, in_order)


def check_splits(effective: dict[str, Any], meta: dict[str, Any]) -> None:
    """Stop if a loader read anything but its own split, as the hash of the files it had open tells.

    Raises:
        EvidenceError: for example, the test split served as validation.
    """
    for split in ("train", "val"):
        read = effective[split]["sha256"]
        if read != meta["splits"][split]["sha256"]:
            other = next((name for name, values in meta["splits"].items() if values["sha256"] == read), "unknown data")
            raise EvidenceError(
                f"train: the {split} loader read {other}, not the {split} split",
                "give each loader its own split: what is tuned on test says nothing about new images",
            )


def _loader(split: TensorSplit, batches: BatchSampler) -> "DataLoader[Batch]":
    # The sampler yields lists of positions and the dataset gathers a whole batch, so no worker or collation is needed.
    return DataLoader(split, sampler=batches, batch_size=None, num_workers=0, pin_memory=torch.cuda.is_available())


def _model_spec(section: TrainSection, meta: dict[str, Any]) -> ModelSpec:
    form = meta["input"]
    return ModelSpec(
        library=section.model.library,
        name=section.model.name,
        channels=len(meta["mean"]),
        classes=len(meta["classes"]),
        task=meta["task"],
        height=form["height"],
        width=form["width"],
        arguments=section.model.arguments,
    )


def _callbacks(section: TrainSection) -> list[Callback]:
    settings = section.train
    callbacks: list[Callback] = [TQDMProgressBar(leave=False)] if sys.stderr.isatty() else []
    if settings.patience:
        callbacks.append(EarlyStopping(f"val/{settings.monitor}", mode="max", patience=settings.patience))
    return callbacks


def _build_trainer(section: TrainSection, callbacks: list[Callback]) -> Trainer:
    settings = section.train
    return Trainer(
        accelerator="auto",
        devices=1,
        precision=settings.precision,
        max_epochs=settings.epochs,
        gradient_clip_val=settings.gradient_clip,
        callbacks=callbacks,
        deterministic="warn",
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
    )


def _quiet() -> None:
    """Keep Lightning's advice, which is about other loaders than ours, out of the log."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
