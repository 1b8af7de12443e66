"""Killed at any time, the workflow completes afterwards, and no file is ever half of one."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import yaml
from conftest import SNAKEMAKE, Project

from imagewright.config.resolve import SCRIPTS

PATIENCE_S = 120


def set_epochs(project: Project, epochs: int) -> None:
    path = "config/experiment/digits8.yaml"
    content = yaml.safe_load((project.root / path).read_text())
    content["train"]["epochs"] = epochs
    project.write_yaml(path, content, header="# @package _global_\n")


def start(project: Project, target: str) -> "subprocess.Popen[bytes]":
    # In a session of its own: killing Snakemake then leaves its job behind.
    return project.start(*SNAKEMAKE, "--config", "experiments=digits8", "--", target)


def wait_for(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def stage_process(snakemake: "subprocess.Popen[bytes]", stage: str) -> psutil.Process | None:
    """The Python process of a stage among Snakemake's descendants."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(snakemake.pid).children(recursive=True):
            # A process that ended in the meantime is no match; the next look sees those that are there.
            command = process.cmdline()
            if len(command) > 1 and command[1] == SCRIPTS[stage]:
                return process
    return None


def wait_for_epochs(project: Project, snakemake: "subprocess.Popen[bytes]") -> psutil.Process:
    """Wait until the training is under way, and return its process."""
    log = project.root / "logs/train/digits8/default/job.log"
    log.unlink()
    wait_for(lambda: log.is_file() and "epoch 2/" in log.read_text(errors="replace"))
    process = stage_process(snakemake, "train")
    assert process is not None
    return process


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage in ("train", "bundle") else pytest.mark.proof) for stage in SCRIPTS]
)
def test_a_stage_is_killed(project: Project, stage: str) -> None:
    # A change to the stage's code makes it run again, and everything after it.
    file = project.root / SCRIPTS[stage]
    file.write_text(file.read_text() + "\nCHANGED = True\n")
    running = start(project, f"{stage}_all")
    try:
        wait_for(lambda: stage_process(running, stage)).kill()
        assert running.wait(PATIENCE_S) != 0
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    done = project.snakemake("--config", "experiments=digits8", "--", "report_all")
    assert done.returncode == 0, done.stdout[-3000:]
    left_over = [path for path in (project.root / "results").rglob("*.partial") if path.is_dir()]
    assert not left_over


def test_snakemake_is_killed_and_its_orphan_cannot_interfere(project: Project) -> None:
    set_epochs(project, 500)
    running = start(project, "train_all")
    orphan = wait_for_epochs(project, running)
    try:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert orphan.is_running()

        # Without the recovery, Snakemake says how to unlock.
        set_epochs(project, 3)
        locked = project.snakemake("--config", "experiments=digits8", "--", "train_all")
        assert locked.returncode != 0
        assert "--unlock" in locked.stdout

        # `make recover` is these two commands.
        assert project.snakemake("--unlock").returncode == 0
        done = project.snakemake("--config", "experiments=digits8", "--", "train_all")
        assert done.returncode == 0, done.stdout[-3000:]
        trained = {path.name: path.read_bytes() for path in (project.root / "results/train/digits8/default").iterdir()}
        assert project.json("results/train/digits8/default/trial.json")["epochs_run"] == 3
        # The orphan finds out by itself that it has been superseded, and ends.
        psutil.wait_procs([orphan], timeout=PATIENCE_S)
        assert not orphan.is_running()
    finally:
        if orphan.is_running():
            orphan.kill()
    after = {path.name: path.read_bytes() for path in (project.root / "results/train/digits8/default").iterdir()}
    assert after == trained
    assert project.planned("--config", "experiments=digits8", "--", "train_all") == set()
