"""Projects to run the real workflow in: a copy of this checkout with two tiny data sets of its own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from checkout import copy_checkout
from filelock import FileLock
from PIL import Image

from imagewright.files import read_json

TIMEOUT_S = 600

LENIENT = {"onnx": {"max_flips": 0.1}, "int8": {"max_flips": 0.5, "max_metric_drop": 0.5}}
QUICK = {"evaluate": {"resamples": 100}, "export": {"int8": {"images": 16}}, "gate": {**LENIENT, "latency_runs": 3}}


SNAKEMAKE = (sys.executable, "-m", "snakemake", "--cores", "2")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a command in a project gets, with the environment's programs first on the path."""
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    # gcsfs would ask by gRPC, too, which the storage emulator does not speak, and wait for a minute.
    quiet = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    return given | quiet | {"PATH": f"{Path(sys.executable).parent}:{given['PATH']}"}


@dataclass(frozen=True)
class Project:
    """A folder in which `snakemake` runs as a user would run it."""

    root: Path
    timeout: int = TIMEOUT_S
    variables: Mapping[str, str] = field(default_factory=dict)

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake on two cores; everything that it prints is in `stdout`."""
        return self.run(*SNAKEMAKE, *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project."""
        return subprocess.run(
            command, cwd=self.root, env=environment(self.variables), text=True, timeout=self.timeout, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command as `run` does, in a session of its own, as a terminal gives, and leave it running.

        What it prints goes to `printed.log`. Ctrl-C reaches it also where these tests run in the background.
        """
        return subprocess.Popen(
            ("env", "--default-signal=INT", *command), cwd=self.root, env=environment(self.variables),
            start_new_session=True, stdout=(self.root / "printed.log").open("ab"), stderr=subprocess.STDOUT,
        )  # fmt: skip

    def planned(self, *arguments: str) -> set[str]:
        """What `snakemake -n` would run, as its messages: for example `Train digits8, trial default`."""
        done = self.snakemake("-n", *arguments)
        assert done.returncode == 0, done.stdout
        return set(re.findall(r"^Job \d+: (?!All is built)(.+)$", done.stdout, re.MULTILINE))

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a piece of a file that stands there exactly once."""
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path} holds {text.count(old)} times: {old}"
        file.write_text(text.replace(old, new))

    def write_yaml(self, path: str, value: Any, header: str = "") -> None:
        """Write a file of `config/`."""
        (self.root / path).write_text(header + yaml.safe_dump(value, sort_keys=False))

    def json(self, path: str) -> Any:
        """Read a JSON file."""
        return read_json(self.root / path)


def make_project(root: Path) -> Project:
    """Copy what the workflow consists of; add the data sets `digits8` and `shapes` and an experiment on each."""
    root.mkdir(parents=True)
    copy_checkout(root)
    project = Project(root)
    write_digits8(root / "data/raw/digits8")
    write_shapes(root / "data/raw/shapes")
    for data, task, layout, classes in (
        ("digits8", "classification", "class_folders", None),
        ("shapes", "segmentation", "image_mask_pairs", {"background": 0, "disc": 1, "square": 2}),
    ):
        project.write_yaml(
            f"config/data/{data}.yaml",
            {"task": task, "source": {"kind": "folder"}, "layout": {"kind": layout}, "classes": classes},
        )
        side = 16 if data == "digits8" else 32
        project.write_yaml(f"config/tensors/gray{side}.yaml", {"height": side, "width": side, "colour": "gray"})
        choices = {"data": data, "tensors": f"gray{side}"} | (
            {"model": "resnet10t"} if data == "digits8" else {"model": "unet", "loss": "dice_ce"}
        )
        choices["tracking"] = "disabled"
        training = {"epochs": 6, "batch_size": 16} | ({"monitor": "dice"} if data == "shapes" else {})
        project.write_yaml(
            f"config/experiment/{data}.yaml",
            {"defaults": [{f"override /{group}": name} for group, name in choices.items()], "train": training, **QUICK},
            header="# @package _global_\n",
        )
    project.write_yaml("config/workflow.yaml", {"experiments": ["digits8", "shapes"]})
    return project


def write_digits8(folder: Path) -> None:
    """300 real handwritten digits of 8×8 pixels (scikit-learn's, from UCI), 30 a class, in class folders."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
        for number, position in enumerate(np.flatnonzero(labels == digit)[:30]):
            pixels = np.clip(images[position].reshape(8, 8) * 16, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(digit) / f"{number:02d}.png")


def write_shapes(folder: Path) -> None:
    """48 pictures of a disc or a square, or both, on noise, with masks 0, 1 and 2."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:32, :32]
    for number in range(48):
        mask = np.zeros((32, 32), np.uint8)
        x, y = generator.integers(6, 26, size=2)
        if number % 3:
            mask[(np.abs(rows - x) < 5) & (np.abs(columns - y) < 5)] = 2
        if number % 3 != 1:
            x, y = generator.integers(6, 26, size=2)
            mask[(rows - x) ** 2 + (columns - y) ** 2 < 25] = 1
        light = np.array([60, 130, 200])[mask] + generator.normal(0, 12, size=mask.shape)
        Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder for what the processes that run the tests make once for all of them.

    Where IMAGEWRIGHT_TESTS_SHARED names one, the next run of the tests on the same checkout finds it there again.
    """
    own = tmp_path_factory.getbasetemp()
    given = os.environ.get("IMAGEWRIGHT_TESTS_SHARED")
    return Path(given) if given else own if worker_id == "master" else own.parent


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Whether it is still to be made, in the block; the other processes wait until it is."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        whole = folder / "whole"
        yield not whole.exists()
        whole.touch()


@pytest.fixture(scope="session")
def built(shared: Path) -> Project:
    """Both tiny experiments, built from raw to bundle. Read it; to change it, take `project`."""
    project = Project(shared / "built/project")
    with made_once(shared / "built") as missing:
        if missing:
            done = make_project(project.root).snakemake()
            assert done.returncode == 0, done.stdout[-6000:]
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """A copy of the built project, to change and run again."""
    shutil.copytree(built.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture
def unbuilt(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Google Cloud Storage's protocol on loopback, with an empty bucket."""
    from clones import BUCKET
    from storage_emulator import storage_emulator

    with storage_emulator(tmp_path_factory.mktemp("storage"), BUCKET) as url:
        yield url


@pytest.fixture(scope="session")
def recorded(built: Project, shared: Path) -> Project:
    """A clone in which all was built by Snakemake, and recorded by DVC, which computed nothing again."""
    from clones import commit, messages, publish, run

    project = Project(shared / "recorded/project")
    with made_once(shared / "recorded") as missing:
        if missing:
            shutil.copytree(built.root, project.root, symlinks=True)
            publish(project)
            assert messages(run(project, "dvc", "repro")) == set()
            commit(project, "Record the results")
    return project


@pytest.fixture(scope="session")
def origin(recorded: Project, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone whose recorded results were pushed."""
    from clones import reach, run

    root = tmp_path_factory.mktemp("origin") / "project"
    shutil.copytree(recorded.root, root, symlinks=True)
    project = Project(root)
    reach(project, endpoint)
    run(project, "dvc", "push")
    return project


@pytest.fixture
def fresh(origin: Project, endpoint: str, tmp_path: Path) -> Project:
    """Another person's clone, with nothing pulled yet."""
    from clones import clone, reach

    project = clone(origin, tmp_path / "clone")
    reach(project, endpoint)
    return project
