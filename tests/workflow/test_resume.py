"""A training that is killed goes on where its last checkpoint was, and ends with the same bits."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import Project

from imagewright.files import read_json, sha256

KILLS = 10 if "IMAGEWRIGHT_PROOF" in os.environ else 3
TIMEOUT_S = 300


def command(folder: Path) -> list[str]:
    return [
        sys.executable, "scripts/train.py", "--config", str(folder / "section.yaml"),
        "--tensors", "results/tensors/digits8-gray16", "--out", str(folder / "out"),
        "--checkpoints", str(folder / "checkpoints"), "--evidence", str(folder / "evidence"),
    ]  # fmt: skip


def prepare(built: Project, folder: Path) -> Path:
    """A training with everything that has a state: dropout, augmentation, a moving average, a schedule."""
    section = yaml.safe_load((built.root / "results/resolve/train/digits8/default.yaml").read_text())
    section["model"]["arguments"] = {"drop_rate": 0.2}
    section["augment"]["rotate"] = 10
    section["train"] |= {"epochs": 8, "ema": 0.95, "checkpoint_steps": 3, "accumulate": 2}
    folder.mkdir()
    (folder / "section.yaml").write_text(yaml.safe_dump(section))
    return folder


def start(built: Project, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(folder), cwd=built.root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PYTHONPATH": str(built.root / "src"), "PATH": str(Path(sys.executable).parent)},
    )  # fmt: skip


def wait_for_another_checkpoint(process: "subprocess.Popen[str]", file: Path) -> None:
    before, deadline = file.stat().st_mtime_ns if file.exists() else 0, time.monotonic() + TIMEOUT_S
    while not (file.exists() and file.stat().st_mtime_ns > before):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_again_and_again(built: Project, tmp_path: Path) -> None:
    whole, killed = prepare(built, tmp_path / "whole"), prepare(built, tmp_path / "killed")
    done = start(built, whole)
    assert done.wait(TIMEOUT_S) == 0, done.communicate()[0]
    moments = random.Random(0)
    for _ in range(KILLS):
        process = start(built, killed)
        wait_for_another_checkpoint(process, killed / "checkpoints/last.pt")
        time.sleep(moments.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == -signal.SIGKILL, "it was done before it was killed"
        assert not (killed / "out/trial.json").exists()
    last = start(built, killed)
    said, _ = last.communicate(timeout=TIMEOUT_S)
    assert last.returncode == 0, said

    for name in ("model.safetensors", "history.csv", "curves.png", "augmented.png"):
        assert sha256(killed / "out" / name) == sha256(whole / "out" / name), name
    trial, clean = read_json(killed / "out/trial.json"), read_json(whole / "out/trial.json")
    resumed = trial["resumed_from"]
    assert len(resumed) == KILLS and all(a < b for a, b in itertools.pairwise(resumed))
    assert any(step % trial["effective"]["batches"]["steps"] for step in resumed), "never in the middle of an epoch"
    assert trial["steps_executed"] == clean["steps"] - resumed[-1] < clean["steps"] == clean["steps_executed"]
    assert f"resumed from step {resumed[-1]}" in said
    assert not (killed / "checkpoints").exists() and not (whole / "checkpoints").exists()
