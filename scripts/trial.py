"""One trial of an experiment outside of the workflow: by hand, or by `wandb agent`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import run

Experiment = Annotated[str, typer.Argument(help="The name of a file in config/experiment/.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Hydra overrides, such as optimizer.lr=0.01.")]


def trial(experiment: Experiment, overrides: Overrides = None) -> None:
    """Compose an experiment with overrides and train it by scripts/train.py, into runs/trials/<experiment>/<trial>.

    The tensors have to be there: snakemake --cores 8 tensors_all --config experiments=<experiment>

    \b
    Example:
      python scripts/trial.py digits optimizer.lr=0.01 train.batch_size=32

    By an agent: wandb sweep config/sweep/digits.yaml, then WANDB_DIR=runs wandb agent <what it prints>
    """
    from imagewright.config.compose import compose_experiment
    from imagewright.config.sweep import trial_name
    from imagewright.errors import SourceError
    from imagewright.files import write_text_if_changed

    composed = compose_experiment(Path("config"), experiment, overrides or [])
    tensors = Path("results/tensors") / f"{composed.data}-{composed.tensors}"
    if not (tensors / "meta.json").is_file():
        raise SourceError(
            f"{tensors}: there are no tensors to train on",
            f"make them: snakemake --cores 8 tensors_all --config experiments={experiment}",
        )
    # An agent's run has a name of its own; by hand, equal values are one trial.
    folder = Path("runs/trials") / experiment / (os.environ.get("WANDB_RUN_ID") or trial_name(overrides or []))
    write_text_if_changed(folder / "section.yaml", composed.train_section.to_yaml())
    write_text_if_changed(folder / "tracking.yaml", composed.config.tracking.to_yaml())
    count = composed.config.train.processes
    launcher = [] if count == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    paths = {
        "config": folder / "section.yaml",
        "tracking": folder / "tracking.yaml",
        "tensors": tensors,
        "out": folder,
        "checkpoints": folder / "checkpoints",
        "evidence": folder,
    }
    options = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    # The same script as the workflow's, so that a trial here is the trial there.
    command = [sys.executable, *launcher, str(Path(__file__).with_name("train.py")), *options]
    sys.exit(subprocess.call(command))  # noqa: S603


if __name__ == "__main__":
    run(trial)
