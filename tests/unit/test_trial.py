"""Every switch of a training does what it says, and the record shows that it did."""

import math
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tiny_training import section, train, write_digits
from torch import nn

from imagewright.errors import ConfigError, EvidenceError, ModelError
from imagewright.train.record import check_reached
from imagewright.train.validation import Validation

PLAIN = {"name": "vit_tiny_patch16_224", "arguments": {"img_size": 16, "patch_size": 4, "depth": 2}}
"""A model without batch norm: a step is a sum over its images, in whatever parts it is computed."""


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("tensors"))


@pytest.fixture(scope="module")
def plain(tensors: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A training with every switch off."""
    return train(section(), tensors, tmp_path_factory.mktemp("plain"))


def test_parts_of_a_step_are_the_step(tensors: Path, tmp_path: Path) -> None:
    whole = train(section(model=PLAIN), tensors, tmp_path / "whole")
    parts = train(section(model=PLAIN, train={"accumulate": 4}), tensors, tmp_path / "parts")
    assert parts["steps"] == whole["steps"] == 15
    # The weights after a step show in the loss of the next; the loss that is logged is that of the last part.
    history = [run["history"].splitlines()[1].split(",")[3] for run in (whole, parts)]
    assert float(history[0]) == pytest.approx(float(history[1]), rel=1e-4)
    assert parts["effective"]["batches"]["accumulate"] == 4


def test_unequal_parts_of_a_step_are_the_step(tensors: Path, tmp_path: Path) -> None:
    # 240 images in 128 parts of two or one: as equal ones, each image that is alone would count twice.
    changes: dict[str, Any] = {"model": PLAIN, "optimizer": {"name": "sgd", "lr": 0.5}}
    whole = train(section(**changes, train={"epochs": 2, "batch_size": 256}), tensors, tmp_path / "whole")
    parts = train(
        section(**changes, train={"epochs": 2, "batch_size": 256, "accumulate": 128}), tensors, tmp_path / "parts"
    )
    history = [float(run["history"].splitlines()[2].split(",")[3]) for run in (whole, parts)]
    assert history[0] == pytest.approx(history[1], rel=1e-4)


def test_the_same_seed_is_the_same_training(tensors: Path, tmp_path: Path) -> None:
    changing = {"augment": {"rotate": 20, "mixup": 0.2, "noise": 0.05}, "model": {"arguments": {"drop_rate": 0.3}}}
    runs = [train(section(**changing), tensors, tmp_path / name) for name in ("a", "b")]
    assert runs[0]["weights"] == runs[1]["weights"]
    workers = train(section(**changing, train={"workers": 1}), tensors, tmp_path / "workers")
    assert workers["weights"] == runs[0]["weights"]
    other = train(section(**changing, train={"seed": 1}), tensors, tmp_path / "other")
    assert other["weights"] != runs[0]["weights"]


@pytest.mark.parametrize(
    ("changes", "where", "value"),
    [
        ({"train": {"ema": 0.9}}, ("ema",), 0.9),
        ({"train": {"sampling": "balanced"}}, ("batches", "balanced"), True),
        ({"train": {"gradient_clip": 0.1}}, ("gradient_clip",), 0.1),
        # Most of a minute on a CPU that has to emulate it.
        pytest.param(
            {"train": {"precision": "bf16-mixed"}},
            ("precision",),
            "bf16-mixed",
            marks=pytest.mark.slow,
        ),
        ({"loss": {"name": "focal", "gamma": 3.0}}, ("loss", "gamma"), 3.0),
        ({"loss": {"name": "cross_entropy", "label_smoothing": 0.2}}, ("loss", "label_smoothing"), 0.2),
        ({"optimizer": {"name": "sgd", "lr": 0.1, "arguments": {"momentum": 0.8}}}, ("optimizer", "class"), "SGD"),
        ({"optimizer": {"schedule": {"name": "poly"}}}, ("schedule", "class"), "PolyLRScheduler"),
        ({"augment": {"cutmix": 1.0}}, ("augment",), "CutMix"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_a_switch_changes_the_training_and_its_record(
    tensors: Path, tmp_path: Path, plain: dict[str, Any], changes: dict[str, Any], where: tuple[str, ...], value: object
) -> None:
    switched = train(section(**changes), tensors, tmp_path / "switched")
    found, before = switched["effective"], plain["effective"]
    for key in where:
        found, before = found[key], before.get(key)
    assert value == found or (isinstance(found, str) and str(value) in found)
    assert before != found
    assert switched["weights"] != plain["weights"]


def frozen(tensors: Path, folder: Path, until: int | str, **weights: Any) -> dict[str, Any]:
    """Two epochs from weights of a file, the head alone for `until` of them."""
    run = train(section(model=weights, train={"epochs": 2, "freeze": until}), tensors, folder)
    return {**run, "tensors": load_file(folder / "out/model.safetensors")}


def test_what_is_frozen_stays_and_what_thaws_moves(tensors: Path, tmp_path: Path) -> None:
    train(section(), tensors, tmp_path / "first")
    weights = tmp_path / "first/out/model.safetensors"
    before = load_file(weights)
    held = frozen(tensors, tmp_path / "held", "all", pretrained=f"file:{weights}")
    assert held["pretrained"]["loaded"] == held["pretrained"]["tensors"]
    moved = {name for name, value in held["tensors"].items() if not value.equal(before[name])}
    # Not even the statistics of the batch norms move.
    assert moved == {"backbone.fc.weight", "backbone.fc.bias"}
    assert 0 < held["effective"]["trainable"] < held["effective"]["parameters"]
    thawed = frozen(tensors, tmp_path / "thawed", 1, pretrained=f"file:{weights}")
    assert thawed["effective"]["trainable"] == thawed["effective"]["parameters"]
    if thawed["best"]["epoch"] == 2:
        assert not thawed["tensors"]["backbone.conv1.0.weight"].equal(before["backbone.conv1.0.weight"])


def test_where_the_time_goes_is_written_on_request(tensors: Path, tmp_path: Path) -> None:
    train(section(train={"profile": True}), tensors, tmp_path)
    table = (tmp_path / "evidence/profile.txt").read_text()
    assert "convolution" in table and "Self CPU" in table
    assert (tmp_path / "evidence/trace.json").stat().st_size > 10_000
    train(section(), tensors, tmp_path / "silent")
    assert not (tmp_path / "silent/evidence").exists()


def test_patience_ends_a_training_that_gets_no_better(tensors: Path, tmp_path: Path) -> None:
    stuck = {"optimizer": {"lr": 1e-12}, "train": {"epochs": 9, "patience": 2}}
    run = train(section(**stuck), tensors, tmp_path)
    # At such a rate only the statistics of the batch norms move, and soon no more.
    assert run["epochs_run"] == run["best"]["epoch"] + 2 < 9


def test_a_loss_that_is_no_number_stops(tensors: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a number"):
        train(section(optimizer={"name": "sgd", "lr": 1e30}), tensors, tmp_path)
    assert not (tmp_path / "out/model.safetensors").exists()


def measure(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Let an epoch after the other have these accuracies."""
    given = iter(values)

    def measured(self: Validation, network: nn.Module) -> dict[str, float]:
        return {"val/loss": 1.0, "val/accuracy": next(given), "val/macro_f1": 0.5}

    monkeypatch.setattr(Validation, "measure", measured)


def test_any_metric_is_better_than_none(tensors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(monkeypatch, math.nan, 0.2, math.nan, 0.3, math.nan)
    run = train(section(train={"epochs": 5}), tensors, tmp_path)
    assert run["best"] == {"epoch": 4, "value": 0.3}


def test_a_training_without_any_metric_stops(tensors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(monkeypatch, math.nan, math.nan)
    with pytest.raises(ModelError, match="val/accuracy was not a number in any of 2 epochs"):
        train(section(train={"epochs": 2}), tensors, tmp_path)
    assert not (tmp_path / "out/model.safetensors").exists()


def test_colours_of_grey_pictures_are_refused_before_anything_is_trained(tensors: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="grey"):
        train(section(augment={"hue": 0.1}), tensors, tmp_path)


def test_a_value_that_did_not_take_part_is_named(plain: dict[str, Any]) -> None:
    check_reached(section(), plain["effective"])
    for asked, words in (
        (section(optimizer={"lr": 0.01}), "optimizer.lr 0.01 was asked for, but 0.004 took part"),
        (section(optimizer={"weight_decay": 0.3}), "optimizer.weight_decay 0.3"),
        (section(train={"ema": 0.9}), "train.ema 0.9 was asked for, but None"),
        (section(train={"seed": 4}), "train.seed 4"),
    ):
        with pytest.raises(EvidenceError, match=words):
            check_reached(asked, plain["effective"])
