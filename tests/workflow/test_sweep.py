"""A sweep from end to end: its trials run with their own values, the best one is exported, and W&B saw them all."""

import itertools

import pytest
from conftest import Project
from wandb_files import read_runs

from imagewright.files import sha256

VALUES = {"optimizer.lr": [0.001, 0.004], "train.batch_size": [16, 32]}
SWEPT = ("--config", "experiments=swept")


@pytest.mark.proof
def test_two_by_two(project: Project) -> None:
    text = (project.root / "config/experiment/digits8.yaml").read_text().replace("epochs: 6", "epochs: 4")
    text = text.replace("/tracking: disabled", "/tracking: offline")
    lists = "".join(f"    {key}: {values}\n" for key, values in VALUES.items())
    (project.root / "config/experiment/swept.yaml").write_text(f"{text}sweep:\n  method: grid\n  parameters:\n{lists}")
    done = project.snakemake("report_all", *SWEPT)
    assert done.returncode == 0, done.stdout[-4000:]

    asked = {tuple(cell) for cell in itertools.product(*VALUES.values())}
    selection = project.json("results/select/swept/selection.json")
    records = {
        trial["trial"]: project.json(f"results/train/swept/{trial['trial']}/trial.json")
        for trial in selection["trials"]
    }
    effective = {
        name: (record["effective"]["optimizer"]["groups"][0]["lr"], record["effective"]["batches"]["batch_size"])
        for name, record in records.items()
    }
    assert set(effective.values()) == asked and len(records) == 4
    for trial in selection["trials"]:
        assert tuple(trial["values"].values()) == effective[trial["trial"]]

    # The best on val is what is exported.
    best = max(records, key=lambda name: records[name]["best"]["value"])
    assert records[selection["trial"]]["best"]["value"] == records[best]["best"]["value"]
    weights = {name: sha256(project.root / f"results/train/swept/{name}/model.safetensors") for name in records}
    assert len(set(weights.values())) == 4
    assert sha256(project.root / "results/select/swept/model.safetensors") == weights[selection["trial"]]
    assert project.json("results/bundle/swept/bundle.json")["fingerprints"]["weights"] == weights[selection["trial"]]

    # Each trial's training has its own time in the record.
    stages = project.json("results/bundle/swept/record.json")["stages"]
    trained = {job["name"]: job["seconds"] for job in stages if job["stage"] == "train"}
    assert set(trained) == {f"swept/{name}" for name in records} and min(trained.values()) > 0

    # People see all four: on the page and in W&B's own files.
    page = (project.root / "results/report/summary.html").read_text()
    assert "4 trials" in page and all(name in page for name in records)
    runs = {
        run.name: run for run in read_runs(project.root / "runs/wandb") if (run.group, run.job) == ("swept", "train")
    }
    assert set(runs) == {f"swept/{name}" for name in records}
    for name, record in records.items():
        run = runs[f"swept/{name}"]
        assert (run.config["optimizer"]["lr"], run.config["train"]["batch_size"]) == effective[name]
        measured = [row["val/accuracy"] for row in run.history if "val/accuracy" in row]
        assert max(measured) == record["best"]["value"] and len(measured) == 4
    bundle = next(run for run in read_runs(project.root / "runs/wandb") if (run.group, run.job) == ("swept", "bundle"))
    assert [(artifact["kind"], artifact["used"]) for artifact in bundle.artifacts] == [
        ("dataset", True),
        ("model", False),
    ]


def test_another_way_of_tracking_trains_nothing_again(project: Project) -> None:
    project.edit("config/experiment/digits8.yaml", "/tracking: disabled", "/tracking: online")
    assert project.planned() == set()
