"""Train one trial and record it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric, seed_everything

import imagewright
from imagewright.config.code import code_fingerprint
from imagewright.config.train import TrainSection
from imagewright.errors import EvidenceError
from imagewright.files import sha256_json, write_json
from imagewright.models.build import ModelSpec, build_backbone
from imagewright.models.freeze import Freezer
from imagewright.models.network import Network, save_weights
from imagewright.models.normalisation import normalisation
from imagewright.models.pretrained import load_pretrained
from imagewright.models.window import unwrapped
from imagewright.tensors.dataset import TensorSplit, read_meta
from imagewright.train.augmentation import Augmentation
from imagewright.train.augmentation_picture import draw_augmented
from imagewright.train.batches import DrawnBatches, EpochBatches, image_weights, train_loader, val_loader
from imagewright.train.checkpoint import Checkpoint
from imagewright.train.curves import draw_curves
from imagewright.train.history import History
from imagewright.train.loop import Log, Training
from imagewright.train.losses import build_loss
from imagewright.train.optimizer import Schedule, build_optimizer
from imagewright.train.processes import open_fabric
from imagewright.train.profiling import profiled
from imagewright.train.record import check_reached, effective_values, environment
from imagewright.train.validation import Validation


def train_trial(
    section: TrainSection, tensors: Path, out: Path | None, checkpoints: Path, evidence: Path, log: Log
) -> None:
    """Train, and keep the weights of the best epoch on val.

    Writes `model.safetensors`, `history.csv`, `trial.json`, `curves.png` and `augmented.png`.

    Args:
        section: model, loss, optimizer, augmentation and training.
        tensors: what `tensors` wrote.
        out: the folder to write to; none in a process that only helps another one.
        checkpoints: the folder with the state to resume from; to be removed when the outputs are in place.
        evidence: the folder for the profile, where one is asked for.
        log: told of losses and metrics while the training runs.

    Raises:
        ModelError: the model, loss or optimizer cannot be built, or the loss is not a number.
        EvidenceError: a loader read another split than it should have, or a value did not take part.
    """
    settings = section.train
    torch.set_num_threads(settings.threads)
    fabric = open_fabric(settings)
    torch.use_deterministic_algorithms(True, warn_only=True)
    seed_everything(settings.seed, workers=True, verbose=False)
    machine = environment(fabric.world_size)
    meta = read_meta(tensors)
    train = TensorSplit(tensors, "train")
    val = TensorSplit(tensors, "val")
    seen = {"train": train.sha256, "val": val.sha256}
    check_splits(seen, meta)

    spec = _model_spec(section, meta)
    backbone = build_backbone(spec)
    started_from = load_pretrained(backbone, spec, section.model.pretrained)
    mean, std, measured_by = normalisation(backbone, spec, section.model.pretrained, meta["mean"], meta["std"])
    network = Network(backbone, mean, std)
    if settings.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.to(fabric.device)

    window = (spec.window["height"], spec.window["width"]) if spec.window else None
    augmentation = Augmentation(
        section.augment, meta["input"]["background"], len(meta["classes"]), window, spec.channels, meta["task"]
    )
    drawn = DrawnBatches(train, augmentation if augmentation.active else None)
    batches = EpochBatches(
        len(train), settings.batch_size, settings.accumulate, settings.seed, fabric.global_rank, fabric.world_size,
        image_weights(train.targets) if settings.sampling == "balanced" else None,
    )  # fmt: skip
    loss = fabric.to_device(build_loss(section.loss, [meta["splits"]["train"]["targets"][c] for c in meta["classes"]]))
    optimizer = build_optimizer(section.optimizer, unwrapped(network.backbone))
    history = History(out / "history.csv" if out else None, settings.monitor, settings.epochs)
    training = Training(
        settings, fabric, network, Freezer(network.backbone, spec, settings.keep_statistics), loss, optimizer,
        Schedule(section.optimizer.schedule, optimizer, settings.epochs, batches.steps), batches,
        train_loader(batches, drawn, settings.workers),
        _validation(val, section, meta, loss, fabric), history,
        Checkpoint(checkpoints, _key(section, meta, machine)), log,
    )  # fmt: skip
    with profiled(evidence if settings.profile and out else None) as after_step:
        training.run(after_step)

    effective = effective_values(training, drawn)
    check_reached(section, effective)
    if out is None:
        return
    network.load_state_dict(training.best.weights)
    save_weights(network, out / "model.safetensors")
    draw_curves(history.rows, settings.monitor, training.best.epoch, out / "curves.png")
    draw_augmented(train, augmentation, out / "augmented.png")
    write_json(
        out / "trial.json",
        {
            **{key: meta[key] for key in ("task", "classes", "names", "ignore", "input", "max_pixels")},
            "model": spec.to_dict(),
            "pretrained": started_from,
            "normalisation": {"mean": list(mean), "std": list(std), "from": measured_by},
            "monitor": settings.monitor,
            "best": {"epoch": training.best.epoch, "value": training.best.value},
            "epochs_run": len(history.rows),
            "steps": training.steps,
            "steps_executed": training.executed,
            "resumed_from": training.resumed_from,
            "seed": settings.seed,
            "seen": seen,
            "effective": effective,
            "environment": machine,
        },
    )


def check_splits(seen: Mapping[str, str], meta: dict[str, Any]) -> None:
    """Stop if a loader reads anything but its own split, as the hash of the files that it has open tells.

    Raises:
        EvidenceError: for example, the test split served as validation.
    """
    for split, read in seen.items():
        if read != meta["splits"][split]["sha256"]:
            other = next((name for name, values in meta["splits"].items() if values["sha256"] == read), "unknown data")
            raise EvidenceError(
                f"train: the {split} loader read {other}, not the {split} split",
                "give each loader its own split: what is tuned on test says nothing about new images",
            )


def _validation(
    val: TensorSplit, section: TrainSection, meta: dict[str, Any], loss: torch.nn.Module, fabric: Fabric
) -> Validation:
    loader = val_loader(val, section.train.batch_size, fabric.global_rank, fabric.world_size)
    return Validation(loader, len(val), loss, meta["task"], meta["classes"], meta["ignore"], fabric)


def _key(section: TrainSection, meta: dict[str, Any], machine: dict[str, Any]) -> str:
    """All that a training depends on: a checkpoint is taken up by the same training only."""
    source = Path(imagewright.__file__).parents[1]
    code = code_fingerprint(Path(__file__), source)["all"]
    splits = {name: split["sha256"] for name, split in meta["splits"].items()}
    return sha256_json([section.to_dict(), splits, code, machine])


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
        window=section.model.window.to_dict() if section.model.window else None,
    )
