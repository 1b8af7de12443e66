"""How Weights & Biases is set up: local, quiet, and without what nobody asked it to collect."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagewright.config.tracking import TrackingConfig

OTHER_NAMES = {"dryrun": "offline", "run": "online", "shared": "online"}
# Seconds until what was logged is in the run's file, from where it is sent.
FLUSH = 2.0


def mode_of(config: TrackingConfig, environment: Mapping[str, str]) -> str:
    """offline, online or disabled: what WANDB_MODE says, then online for a trial of `wandb agent`, then the config."""
    wanted = environment.get("WANDB_MODE", "").strip().lower()
    if wanted:
        return OTHER_NAMES.get(wanted, wanted)
    # An agent whose trials report nothing would search blindly.
    return "online" if environment.get("WANDB_SWEEP_ID") else config.mode


def server(environment: Mapping[str, str]) -> str:
    """The address that runs are sent to, where the environment names one."""
    return environment.get("WANDB_BASE_URL") or "Weights & Biases"


def init_arguments(
    config: TrackingConfig, folder: Path, job: str, experiment: str, trial: str | None, run_id: str | None
) -> dict[str, Any]:
    """Arguments of `wandb.init`; those that the environment names are left to it, as its users expect.

    Args:
        config: the project and the entity.
        folder: where everything goes. `wandb` puts a folder `wandb` below the one that it is given.
        job: the stage.
        experiment: groups the runs.
        trial: the trial, if the stage works on one.
        run_id: the run to continue, if there may be one.
    """
    wanted = {
        "project": (config.project, "WANDB_PROJECT"),
        "entity": (config.entity, "WANDB_ENTITY"),
        "group": (experiment, "WANDB_RUN_GROUP"),
        "name": (f"{experiment}/{trial}" if trial else experiment, "WANDB_NAME"),
        "id": (run_id, "WANDB_RUN_ID"),
    }
    named = {key: value for key, (value, variable) in wanted.items() if value and not os.environ.get(variable)}
    if os.environ.get("WANDB_SWEEP_ID"):  # the agent decides about these
        named = {key: value for key, value in named.items() if key not in ("project", "entity", "id")}
    return {**named, "job_type": job, "dir": str(folder.parent if folder.name == "wandb" else folder)}


def quiet_settings() -> dict[str, Any]:
    """Settings for `wandb.Settings`: no console capture, code, diff, git remote, links or output."""
    return {
        "mode": "offline",
        "silent": True,
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "label_disable": True,
        "sagemaker_disable": True,
        "symlink": False,
        "use_dot_wandb": False,
        "x_transaction_log_flush_interval": FLUSH,
    }


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Keep what belongs to no run (copies of artifacts that wait to be sent, logs) below `folder`, not in the home."""
    folder = folder.resolve()
    wanted = {
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_ERROR_REPORTING": "false",
    }
    ours = {key: value for key, value in wanted.items() if key not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key in ours:
            os.environ.pop(key, None)
