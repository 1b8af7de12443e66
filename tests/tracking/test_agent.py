"""`wandb agent`: the values that the server hands out reach the training, and what it reports reaches their run.

A sweep whose values never arrived looked like one in which nothing mattered.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Project
from tracked_stage import run_wandb
from wandb_server import Server, wandb_server

from imagewright.config.compose import METRICS, compose_experiment

CHECKOUT = Path(__file__).parents[2]
SWEEP = CHECKOUT / "config/sweep/digits.yaml"
TRIALS = {
    "trial1": {"optimizer.lr": 0.003, "train.batch_size": 32},
    "trial2": {"optimizer.lr": 0.0002, "train.batch_size": 128},
}


@pytest.fixture
def server() -> Iterator[Server]:
    with wandb_server() as server:
        server.trials = [
            {"run_id": name, "args": {key: {"value": value} for key, value in values.items()}}
            for name, values in TRIALS.items()
        ]
        yield server


def test_what_the_sweep_varies_is_in_the_experiment() -> None:
    sweep = yaml.safe_load(SWEEP.read_text())
    for values in TRIALS.values():
        assert set(values) == set(sweep["parameters"])
        composed = compose_experiment(
            CHECKOUT / "config", "digits", [f"{key}={value}" for key, value in values.items()]
        )
        assert composed.config.optimizer.lr == values["optimizer.lr"]
        assert composed.config.train.batch_size == values["train.batch_size"]
    task = "classification"
    assert sweep["metric"]["name"].removeprefix("val/") in METRICS[task]


@pytest.mark.proof
def test_an_agent_runs_the_trials(server: Server, unbuilt: Project) -> None:
    done = unbuilt.snakemake("tensors_all", "--config", "experiments=digits8")
    assert done.returncode == 0, done.stdout
    # The sweep as it is shipped, on a smaller experiment.
    sweep = yaml.safe_load(SWEEP.read_text())
    sweep["command"][sweep["command"].index("digits")] = "digits8"
    unbuilt.write_yaml("sweep.yaml", sweep)
    variables = {"WANDB_DIR": "runs", **server.environment()}
    (unbuilt.root / "runs").mkdir(exist_ok=True)
    before = {path.name for path in unbuilt.root.iterdir()}

    assert "wandb agent team/imagewright/sweep1" in run_wandb(unbuilt.root, "sweep", "sweep.yaml", **variables)
    said = run_wandb(unbuilt.root, "agent", "team/imagewright/sweep1", **variables)

    # The config says offline: an agent's trials are online, and keep the names that the agent gave them.
    assert set(server.runs) == set(TRIALS), said
    for name, values in TRIALS.items():
        run = server.runs[name]
        assert run.about["sweep"] == "sweep1"
        assert run.complete, said
        assert [row for row in run.history if "val/accuracy" in row], said
        config = json.loads(run.about["config"])
        assert {key: config[key]["value"] for key in values} == values
        # What the server handed out is what the optimizer and the loader got.
        effective = unbuilt.json(f"runs/trials/digits8/{name}/trial.json")["effective"]
        assert max(group["lr"] for group in effective["optimizer"]["groups"]) == pytest.approx(values["optimizer.lr"])
        assert effective["batches"]["batch_size"] == values["train.batch_size"]
    # Nothing was written beside runs/.
    assert {path.name for path in unbuilt.root.iterdir()} == before
