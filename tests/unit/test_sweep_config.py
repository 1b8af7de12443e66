"""A sweep tries what its file says, each combination once, and nothing that belongs to all trials."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from imagewright.config.compose import compose_experiment, compose_trials
from imagewright.config.sweep import Range, SweepConfig, trial_name, trial_overrides
from imagewright.errors import ConfigError

CONFIG = Path(__file__).parents[2] / "config"


def sweep(**values: object) -> SweepConfig:
    return SweepConfig.model_validate(values)


def test_a_grid_has_every_combination_once() -> None:
    grid = sweep(method="grid", parameters={"train.epochs": [1, 2], "optimizer.lr": [0.1, 0.01, 0.001]})
    values = grid.values()
    assert len(values) == 6
    assert {(one["train.epochs"], one["optimizer.lr"]) for one in values} == {
        (epochs, lr) for epochs in (1, 2) for lr in (0.1, 0.01, 0.001)
    }


def test_a_random_sample_is_the_seeds() -> None:
    parameters = {
        "optimizer.lr": {"low": 1e-4, "high": 1e-1, "scale": "log"},
        "train.epochs": {"low": 2, "high": 9, "whole": True},
        "model": ["resnet10t", "resnet18"],
    }
    first, again = (sweep(method="random", trials=200, seed=3, parameters=parameters).values() for _ in range(2))
    assert first == again
    assert first != sweep(method="random", trials=200, seed=4, parameters=parameters).values()
    rates = [one["optimizer.lr"] for one in first]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    # On a log scale a third of the rates lies in each decade.
    assert 40 < sum(rate < 1e-3 for rate in rates) < 95
    assert {one["train.epochs"] for one in first} == set(range(2, 10))
    assert {one["model"] for one in first} == {"resnet10t", "resnet18"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "grid", "parameters": {"data.split.seed": [1, 2]}}, "data.split.seed may not vary"),
        ({"method": "grid", "parameters": {"train.monitor": ["accuracy"]}}, "train.monitor may not vary"),
        ({"method": "grid", "parameters": {"optimizer.lr": {"low": 1, "high": 2}}}, "needs a list"),
        ({"method": "grid", "trials": 3, "parameters": {"optimizer.lr": [1]}}, "`trials` is for random"),
        ({"method": "random", "parameters": {"optimizer.lr": [1, 2]}}, "needs `trials`"),
        ({"method": "grid", "parameters": {"train.seed": list(range(1001))}}, "more than 1000"),
        ({"method": "random", "trials": 2, "parameters": {"optimizer.lr": {"low": 2, "high": 1}}}, "less than high"),
        ({"method": "random", "trials": 1, "parameters": {"train.ema": {"low": 0, "high": 1, "scale": "log"}}}, "0"),
        ({"method": "grid", "parameters": {}}, "at least 1"),
        ({"method": "grid", "parameters": {"optimizer.lr": []}}, "at least 1"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SweepConfig.model_validate(values)


def test_names_depend_on_the_values_alone() -> None:
    one = trial_overrides({"train.epochs": 3, "optimizer.lr": 0.01})
    other = trial_overrides({"optimizer.lr": 0.01, "train.epochs": 3})
    assert one == other == ["++optimizer.lr=0.01", "++train.epochs=3"]
    assert trial_name(one) == trial_name(other[::-1])
    assert trial_name(one) != trial_name(trial_overrides({"train.epochs": 4, "optimizer.lr": 0.01}))
    assert Range(low=1, high=1000, scale="log").at(0.5) == pytest.approx(31.6)


def write(config: Path, text: str) -> None:
    (config / "experiment/swept.yaml").write_text("# @package _global_\n" + text)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(CONFIG, tmp_path / "config")
    return tmp_path / "config"


DEFAULTS = """
defaults:
  - override /data: digits
  - override /tensors: gray28
  - override /model: resnet10t
"""


def test_values_arrive_in_the_sections(config: Path) -> None:
    write(
        config,
        DEFAULTS + "sweep: {method: grid, parameters: {optimizer.lr: [0.5, 0.25], optimizer: [sgd, adamw], "
        "optimizer.arguments: [{}, {eps: 0.1}], model.name: [resnet10t, resnet18.a1_in1k]}}",
    )
    trials = compose_trials(config, compose_experiment(config, "swept"))
    assert len(trials) == 16
    for trial in trials.values():
        assert trial.section.optimizer.lr == trial.values["optimizer.lr"]
        assert trial.section.optimizer.name == trial.values["optimizer"]
        assert trial.section.model.name == trial.values["model.name"]
        assert trial.section.optimizer.arguments.items() >= trial.values["optimizer.arguments"].items()


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ("{method: grid, parameters: {optimizer.lr: [0.1, 0.10]}}", "two trials are the same"),
        ("{method: grid, parameters: {optimizer.rate: [0.1, 0.2]}}", "unknown key 'optimizer.rate'"),
        ("{method: grid, parameters: {optimizer.lr: [0.1, -1]}}", "optimizer.lr"),
        ("{method: grid, parameters: {model: [resnet10t, resnet81]}}", "config/model/resnet81.yaml"),
        ("{method: maze, parameters: {optimizer.lr: [0.1, 1]}}", "sweep.method is 'maze'"),
    ],
)
def test_a_wrong_sweep_is_blamed_on_its_file(config: Path, sweep: str, words: str) -> None:
    write(config, f"{DEFAULTS}sweep: {sweep}\n")
    with pytest.raises(ConfigError) as caught:
        compose_trials(config, compose_experiment(config, "swept"))
    assert "experiment/swept.yaml" in str(caught.value)
    assert words in str(caught.value)


def test_an_experiment_without_a_sweep_has_one_trial(config: Path) -> None:
    trials = compose_trials(config, compose_experiment(config, "digits"))
    assert list(trials) == ["default"]
    assert trials["default"].values == {}
