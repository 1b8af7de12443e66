"""On a fresh clone `imagewright pull` leaves nothing to do; and after a change, DVC and Snakemake do the same."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from clones import commit, git, is_clean, messages, run
from conftest import Project

from imagewright.bundle.benchmark import read_benchmark

RETRAINED = {
    "Train digits8, trial default",
    "Select the best trial of digits8",
    "Evaluate digits8",
    "Export digits8",
    "Judge digits8",
    "Bundle digits8",
    "Write the summary page",
}
EPOCHS = ("config/experiment/digits8.yaml", "epochs: 6", "epochs: 7")


@pytest.mark.parametrize("links", ["copy", "hardlink"])
def test_nothing_is_left_to_do_on_a_fresh_clone(fresh: Project, links: str) -> None:
    run(fresh, "dvc", "config", "--local", "cache.type", links)
    output = run(fresh, "imagewright", "pull")
    assert re.search(r"^restored: \d{3} files", output, re.MULTILINE)
    assert "stale: 0 jobs" in output and "missing: 0 files" in output
    assert is_clean(fresh)
    weights = fresh.root / "results/train/digits8/default/model.safetensors"
    assert (weights.stat().st_nlink > 1) == (links == "hardlink")
    assert run(fresh, "imagewright", "pull").startswith("restored: 0 files")
    assert is_clean(fresh)


def training(project: Project) -> dict[str, Any]:
    """How long the training took, and how much memory."""
    return read_benchmark(project.root / "results", "train", "digits8/default")


@pytest.mark.slow
def test_a_change_runs_what_depends_on_it_and_no_more(fresh: Project) -> None:
    run(fresh, "imagewright", "pull")
    recorded = training(fresh)
    fresh.edit(*EPOCHS)
    planned = fresh.planned()
    assert planned == RETRAINED
    assert messages(run(fresh, "dvc", "repro")) == planned
    assert is_clean(fresh)
    assert fresh.json("results/train/digits8/default/trial.json")["epochs_run"] == 7
    # What was pulled and not run again has its time in the record, too.
    measured = training(fresh)
    assert measured != recorded
    stages = fresh.json("results/bundle/digits8/record.json")["stages"]
    assert {row["stage"]: row["seconds"] for row in stages}["train"] == measured["seconds"]
    assert all(row["seconds"] is not None for row in stages)
    # On another branch, and back.
    commit(fresh, "Train longer")
    git(fresh, "switch", "--quiet", "--create", "old", "HEAD~1")
    assert "restored: 0 files" not in run(fresh, "imagewright", "pull")
    assert is_clean(fresh)
    assert fresh.json("results/train/digits8/default/trial.json")["epochs_run"] == 6
    assert training(fresh) == recorded
    git(fresh, "switch", "--quiet", "main")
    run(fresh, "dvc", "checkout")
    run(fresh, "imagewright", "pull")
    assert is_clean(fresh)
    assert fresh.json("results/train/digits8/default/trial.json")["epochs_run"] == 7
    assert training(fresh) == measured


def test_a_change_that_was_committed_and_never_run(fresh: Project) -> None:
    fresh.edit(*EPOCHS)
    commit(fresh, "Train longer, some day")
    output = run(fresh, "imagewright", "pull")
    assert "train digits8: results/resolve/train/digits8/default.yaml is not the recorded one" in output
    assert fresh.planned() == RETRAINED
    # What has to run is not forgotten by a second pull.
    run(fresh, "imagewright", "pull")
    assert fresh.planned() == RETRAINED


def test_code_that_was_changed_and_never_run(fresh: Project) -> None:
    with (fresh.root / "src/imagewright/gate/compare.py").open("a") as file:
        file.write("ADDED = 1\n")
    output = run(fresh, "imagewright", "pull")
    assert "stale: 4 jobs" in output
    assert "gate digits8: results/resolve/code/gate.json is not the recorded one" in output
    judged = {f"{what} {name}" for what in ("Judge", "Bundle") for name in ("digits8", "shapes")}
    assert fresh.planned() == judged | {"Write the summary page"}


@pytest.mark.slow
def test_a_file_that_was_changed_by_hand_runs_what_reads_it(fresh: Project) -> None:
    """DVC looks at a stage's files once, where they are made; the stages that read them learn of it by its listing."""
    run(fresh, "imagewright", "pull")
    predictions = fresh.root / "results/evaluate/digits8/predictions.parquet"
    table = pd.read_parquet(predictions)
    predictions.unlink()
    table.assign(remark="by hand").to_parquet(predictions)
    planned = fresh.planned()
    assert planned == {"Judge digits8", "Bundle digits8", "Write the summary page"}
    assert messages(run(fresh, "dvc", "repro")) == planned
    assert is_clean(fresh)


def test_a_comment_is_no_change(fresh: Project) -> None:
    path = fresh.root / EPOCHS[0]
    path.write_text(path.read_text() + "# A remark.\n")
    assert "stale: 0 jobs" in run(fresh, "imagewright", "pull")
    assert fresh.planned() == set()


def test_dvc_checkout_by_hand_is_put_right(fresh: Project) -> None:
    run(fresh, "dvc", "pull")
    for number, path in enumerate(sorted((fresh.root / "results").rglob("*.*"))):
        os.utime(path, (number, number))
    assert fresh.planned() != set()
    assert run(fresh, "imagewright", "pull").startswith("restored: 0 files")
    assert fresh.planned() == set()


@pytest.mark.slow
def test_a_record_that_was_broken_off(fresh: Project) -> None:
    """`dvc repro` was killed after `train`: what followed is as it was before."""
    lock = yaml.safe_load((fresh.root / "dvc.lock").read_text())
    for stage in ("select", "evaluate", "export", "gate", "bundle", "report"):
        for dep in lock["stages"][stage]["deps"]:
            if dep["path"] == "results/listing/train.json":
                dep["md5"] = "0" * 32
    (fresh.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    output = run(fresh, "imagewright", "pull")
    assert "select shapes: results/listing/train.json was recorded in a version that cannot be had" in output
    planned = fresh.planned()
    assert {"Select the best trial of digits8", "Select the best trial of shapes"} <= planned
    assert not {name for name in planned if name.startswith("Train")}


def record_without(project: Project, name: str) -> None:
    """The record as it would be if an experiment had not been asked for then; `project` has been pulled."""
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    deps = [dep for stage in lock["stages"].values() for dep in stage["deps"]]
    for dep in (dep for dep in deps if dep["path"].startswith("results/resolve/listing/")):
        listed = project.json(dep["path"])
        content = json.dumps({path: md5 for path, md5 in listed.items() if name not in path}).encode()
        dep["md5"] = hashlib.md5(content).hexdigest()
        cached = project.root / ".dvc/cache/files/md5" / dep["md5"][:2] / dep["md5"][2:]
        cached.parent.mkdir(exist_ok=True)
        cached.write_bytes(content)
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))


@pytest.mark.parametrize(
    "listed", [pytest.param(True, id="listed-now", marks=pytest.mark.proof), pytest.param(False, id="asked-for")]
)
def test_an_experiment_that_the_record_was_not_about_is_built_again(fresh: Project, listed: bool) -> None:
    """Files of an experiment that nobody asked for when the rest was recorded may be of any age."""
    run(fresh, "imagewright", "pull")
    record_without(fresh, "digits8")
    if not listed:
        fresh.write_yaml("config/workflow.yaml", {"experiments": ["shapes"]})
    output = run(fresh, "imagewright", "pull")
    assert listed == ("train digits8: not among the experiments that were recorded" in output)
    assert (fresh.root / "results/train/digits8/default/model.safetensors").is_file()
    planned = fresh.planned("--config", "experiments=digits8,shapes")
    assert {"Train digits8, trial default", "Index digits8"} <= planned
    assert {name for name in planned if "shapes" in name} == set()


@pytest.mark.proof
def test_raw_data_of_a_folder_belongs_to_the_record(fresh: Project) -> None:
    run(fresh, "imagewright", "pull")
    picture = next((fresh.root / "data/raw/digits8/3").iterdir())
    content = picture.read_bytes()
    os.utime(picture)
    assert fresh.planned() == set()
    picture.write_bytes((fresh.root / "data/raw/digits8/4/00.png").read_bytes())
    assert "Fetch the raw data of digits8" in fresh.planned()
    picture.write_bytes(content)
    run(fresh, "imagewright", "pull")
    shutil.rmtree(fresh.root / "data/raw/digits8")
    assert fresh.planned() == set()


def test_a_folder_that_is_linked_is_left_alone(fresh: Project, tmp_path: Path) -> None:
    """Another person keeps the same images elsewhere: they are neither replaced nor touched."""
    mine = tmp_path / "mine/0/00.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    os.utime(mine, ns=(1, 1))
    (fresh.root / "data/raw").mkdir(parents=True)
    (fresh.root / "data/raw/digits8").symlink_to(tmp_path / "mine", target_is_directory=True)
    run(fresh, "imagewright", "pull")
    assert list((tmp_path / "mine").rglob("*.*")) == [mine]
    assert (mine.read_text(), mine.stat().st_mtime_ns) == ("mine", 1)
    assert (fresh.root / "data/raw/digits8").is_symlink()
    assert (fresh.root / "data/raw/shapes/images/00.png").is_file()
    # These are other images than the recorded ones.
    assert "Fetch the raw data of digits8" in fresh.planned()


def test_what_lies_here_alone_stays(fresh: Project) -> None:
    """Results of another experiment, and changes that were never recorded, are not lost."""
    own = fresh.root / "results/train/mine/default/model.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"weeks of work")
    run(fresh, "imagewright", "pull")
    assert own.read_bytes() == b"weeks of work"
    done = fresh.run("imagewright", "pull", "--check")
    assert done.returncode == 1 and "1 files here are not recorded" in done.stdout
    own.unlink()
    run(fresh, "imagewright", "pull", "--check")
    changed = fresh.root / "results/train/digits8/default/history.csv"
    changed.unlink()
    changed.write_text("mine\n")
    done = fresh.run("imagewright", "pull")
    assert done.returncode == 1 and "results/train/digits8/default/history.csv among them" in done.stdout
    assert changed.read_text() == "mine\n"
    run(fresh, "imagewright", "pull", "--force")
    assert changed.read_text().startswith("epoch,") and fresh.planned() == set()


@pytest.mark.proof
def test_what_dvc_users_expect(fresh: Project) -> None:
    run(fresh, "imagewright", "pull")
    run(fresh, "dvc", "exp", "run", "-S", "config/experiment/digits8.yaml:train.epochs=7")
    assert fresh.json("results/train/digits8/default/trial.json")["epochs_run"] == 7
    assert "train.epochs" in run(fresh, "dvc", "params", "diff")
    difference = run(fresh, "dvc", "metrics", "diff")
    assert "results/report/metrics/digits8.json" in difference and "ece.value" in difference
    assert "shapes" not in difference
    page = run(fresh, "dvc", "plots", "diff")
    html = Path(page.strip().splitlines()[-1].removeprefix("file://")).read_text()
    assert "#results_report_curves_digits8_csv" in html and "#results_report_confusion_digits8_csv" in html
    fresh.edit("dvc.yaml", "artifacts:\n", "artifacts:\n  digits8: {path: results/bundle/digits8, type: model}\n")
    commit(fresh, "Name the model")
    git(fresh, "tag", "--annotate", "digits8@v1.0.0", "--message", "The first one")
    run(fresh, "dvc", "artifacts", "get", ".", "digits8", "--rev", "v1.0.0", "--out", "got")
    assert (fresh.root / "got/model.onnx").is_file()
