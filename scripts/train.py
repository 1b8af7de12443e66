"""Stage `train`: train one trial of an experiment."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import RUNS, Config, Evidence, Out, Tensors, Tracking, run

Checkpoints = Annotated[Path, typer.Option(help="The folder of the state to resume from; removed when all is done.")]


def train(
    config: Config, tensors: Tensors, out: Out, checkpoints: Checkpoints, evidence: Evidence, tracking: Tracking = None
) -> None:
    """Train one trial: model.safetensors (the best epoch on val), history.csv, trial.json and pictures.

    A training that was stopped goes on from its last checkpoint. Where train.processes is more than one, start it
    with torchrun --standalone --nproc-per-node <processes> instead of python.

    \b
    Example:
      python scripts/train.py --config results/resolve/train/digits/default.yaml \\
        --tensors results/tensors/digits-gray28 --out results/train/digits/default \\
        --checkpoints runs/train/digits/default --evidence logs/train/digits/default
    """
    from imagewright.config.tracking import TrackingConfig
    from imagewright.config.train import TrainSection
    from imagewright.files import staged
    from imagewright.tracking import Tracker, lasting_id, tracked
    from imagewright.train.checkpoint import clear
    from imagewright.train.processes import is_main
    from imagewright.train.trial import train_trial

    section = TrainSection.read(config)
    if not is_main():
        train_trial(section, tensors, None, checkpoints, evidence, Tracker().log)
        return
    settings, identity = TrackingConfig.read_or_off(tracking), checkpoints.with_name(f"{checkpoints.name}.run")
    with (
        staged(out) as work,
        tracked(
            settings, RUNS, job="train", experiment=out.parent.name, trial=out.name, values=section.to_dict(),
            run_id=lasting_id(identity),
        ) as tracker,
    ):  # fmt: skip
        train_trial(section, tensors, work, checkpoints, evidence, tracker.log)
    clear(checkpoints)
    identity.unlink(missing_ok=True)


if __name__ == "__main__":
    run(train)
