"""`imagewright reproduce` builds an experiment again, and says whether and where it comes out otherwise."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import copy_checkout
from conftest import Project
from PIL import Image

from imagewright.files import sha256
from imagewright.reproduce.scratch import MARK

SCRATCH = "runs/reproduce/digits8"
STAGES = ["index", "tensors", "train", "select", "evaluate", "export", "gate", "bundle"]


def reproduce(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.run("imagewright", "reproduce", *arguments)


def states(output: str) -> dict[str, str]:
    """What is said of each stage."""
    return dict(re.findall(rf"^({'|'.join(STAGES)}) +(same|not built|differs.*)$", output, re.MULTILINE))


def last(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


def change_pixel(path: Path) -> None:
    pixels = np.array(Image.open(path))
    pixels[3, 4] ^= 1
    Image.fromarray(pixels).save(path)


def contents(project: Project) -> dict[str, tuple[int, str]]:
    """Time and content of all that must not be touched."""
    paths = [path for name in ("data", "results", "config", "src") for path in (project.root / name).rglob("*")]
    return {str(path): (path.stat().st_mtime_ns, sha256(path)) for path in paths if path.is_file()}


@pytest.mark.slow
def test_identical(project: Project) -> None:
    before = contents(project)
    done = reproduce(project, "digits8")
    assert (done.returncode, last(done)) == (0, "digits8: identical"), done.stdout[-3000:]
    assert states(done.stdout) == dict.fromkeys(STAGES, "same")
    assert not (project.root / SCRATCH).exists()
    assert contents(project) == before


def test_a_changed_pixel_is_found_at_index(project: Project) -> None:
    change_pixel(project.root / "data/raw/digits8/3/07.png")
    # An earlier call was killed when all was built: its results are not to be taken for new ones.
    shutil.copytree(project.root / "results", project.root / SCRATCH / "results")
    (project.root / SCRATCH / MARK).touch()
    before = contents(project)
    done = reproduce(project, "digits8", "--cores", "1")
    assert (done.returncode, last(done)) == (1, "digits8: first difference at index: data (3/07.png)"), done.stdout
    assert set(states(done.stdout).values()) == {"differs: data (3/07.png)", "not built"}
    # For a look at what came out; training on other images would have told nothing more.
    assert f"what was built is in {project.root / SCRATCH}" in done.stdout
    assert (project.root / SCRATCH / "results/index/digits8/index.parquet").is_file()
    assert contents(project) == before


def test_a_stage_that_stops(project: Project, tmp_path: Path) -> None:
    (project.root / "data/raw/digits8/3/07.png").write_bytes(b"no picture")
    done = reproduce(project, "digits8", "--scratch", str(tmp_path / "elsewhere"))
    assert done.returncode == 1
    # The last words are the stage's own.
    answer, problem, remedy = done.stdout.splitlines()[-3:]
    assert answer == "digits8: the same as far as it was built; index was not"
    assert re.match(r"error: 1 of 300 images cannot be used.* 3/07.png", problem), done.stdout[-2000:]
    assert remedy.startswith("  replace or remove them (all are in logs/index/digits8/unreadable.csv)")
    assert states(done.stdout) == dict.fromkeys(STAGES, "not built")
    assert (tmp_path / "elsewhere/digits8/logs/index/digits8/unreadable.csv").is_file()


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("results/bundle/digits8/bundle.json", "nothing is recorded to compare with"),
        ("results/train/digits8/default/history.csv", "there is not all to compare with"),
        ("data/raw/digits8.json", "the raw data of 'digits8' is not here"),
    ],
)
def test_what_is_missing_is_named(project: Project, missing: str, said: str) -> None:
    (project.root / missing).unlink()
    done = reproduce(project, "digits8")
    first, second = done.stdout.splitlines()
    assert done.returncode == 1
    assert first.startswith("error: ") and f"{missing}: " in first and said in first
    assert "imagewright pull" in second
    assert not (project.root / "runs/reproduce").exists()


@pytest.mark.proof
def test_a_difference_in_the_recorded_weights_is_found_at_train(project: Project) -> None:
    path = project.root / "results/train/digits8/default/model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = reproduce(project, "digits8", "--keep")
    assert (done.returncode, last(done)) == (1, "digits8: first difference at train: trial default (weights)")
    # What was recorded of the stages that follow was made from the weights as they were.
    assert {stage for stage, state in states(done.stdout).items() if state != "same"} == {"train"}


@pytest.mark.proof
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="there is but one instruction set")
def test_another_instruction_set(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    done = reproduce(project, "digits8")
    known = torch.backends.cpu.get_cpu_capability()
    assert f"environment: instructions: {known} -> DEFAULT" in done.stdout, done.stdout[-3000:]
    # Whether the bits differ, and the metrics with them, is the machine's affair; that it is told is ours.
    identical = "every result is the same" in last(done)
    within = "every metric of the whole split lies within its interval" in last(done)
    outside = "outside of what was recorded: " in last(done)
    assert (identical, within, outside).count(True) == 1
    assert done.returncode == (1 if outside else 0)


@pytest.mark.proof
def test_an_experiment_with_overrides_and_a_changed_config(project: Project) -> None:
    overrides = 'overrides=["train.epochs=7","++optimizer.arguments.betas=[0.9,0.98]"]'
    built = project.snakemake("--config", "experiments=digits8", overrides, "--", "bundle_all")
    assert built.returncode == 0, built.stdout[-3000:]
    name = next(path.name for path in (project.root / "results/bundle").glob("digits8~*"))
    project.edit("config/experiment/digits8.yaml", "batch_size: 16", "batch_size: 12")
    done = reproduce(project, name)
    # The cause stands first, before hours of training.
    assert done.stdout.startswith(f"config has changed (train/{name}/default.yaml") and done.returncode == 1
    assert f"{name}: first difference at train: trial default (weights, history, effective.batches" in last(done)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_digits(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    copy_checkout(tmp_path / "checkout")
    project = Project(tmp_path / "checkout", timeout=1800)
    built = project.snakemake("--config", "experiments=digits", "--", "bundle_all")
    assert built.returncode == 0, built.stdout[-3000:]
    done = reproduce(project, "digits")
    assert (done.returncode, last(done)) == (0, "digits: identical"), done.stdout[-3000:]
    change_pixel(project.root / "data/raw/digits/7/3500.png")
    done = reproduce(project, "digits")
    assert (done.returncode, last(done)) == (1, "digits: first difference at index: data (7/3500.png)")
