"""The learning rate, step by step: a warm-up that never ends or a rate that falls to nothing shows in no error."""

import math

import pytest
import torch

import imagewright.models  # noqa: F401  # before timm
from imagewright.config.train import OptimizerConfig, Schedule
from imagewright.errors import ModelError
from imagewright.train.optimizer import Schedule as Moving
from imagewright.train.optimizer import build_optimizer

LR = 0.2


def rates(config: Schedule, epochs: int, steps: int) -> list[float]:
    """The rate that each step is taken with."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    schedule = Moving(config, optimizer, epochs, steps)
    found = []
    for _ in range(epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_constant() -> None:
    assert rates(Schedule(name="constant"), 2, 3) == [LR] * 6


def test_warm_up_is_a_straight_line_to_the_full_rate() -> None:
    found = rates(Schedule(name="constant", warmup_epochs=1), 3, 4)
    assert found == pytest.approx([LR * share for share in (0.2, 0.4, 0.6, 0.8)] + [LR] * 8)


def test_cosine_like_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=LR * 0.1)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(Schedule(name="cosine", final_ratio=0.1), 4, 5) == pytest.approx(expected)


def test_cosine_after_a_warm_up() -> None:
    found = rates(Schedule(name="cosine", warmup_epochs=0.5, final_ratio=0.0), 3, 4)
    assert found[:2] == pytest.approx([LR / 3, LR * 2 / 3])
    for step in range(2, 12):
        assert found[step] == pytest.approx(LR * (1 + math.cos(math.pi * (step - 2) / 10)) / 2)


@pytest.mark.parametrize("name", ["cosine", "poly", "tanh"])
def test_the_rate_never_rises_again(name: str) -> None:
    found = rates(Schedule(name=name, warmup_epochs=1, final_ratio=0.05), 10, 5)
    top = found.index(max(found))
    assert top == 5 and max(found) == pytest.approx(LR, rel=0.02)
    assert found[: top + 1] == sorted(found[: top + 1]) and found[top:] == sorted(found[top:], reverse=True)
    assert LR * 0.05 < found[-1] < LR * 0.1


def test_steps_fall_where_they_are_asked_to() -> None:
    # Looked at in the middle of each epoch: timm's multistep falls one step before an epoch ends.
    middles = slice(5, None, 10)
    assert rates(Schedule(name="step", decay_epochs=[2], decay_rate=0.5), 5, 10)[middles] == pytest.approx(
        [LR, LR, LR / 2, LR / 2, LR / 4]
    )
    assert rates(Schedule(name="multistep", decay_epochs=[1, 3], decay_rate=0.1), 4, 10)[middles] == pytest.approx(
        [LR, LR / 10, LR / 10, LR / 100]
    )


def test_a_warm_up_leaves_something_of_a_short_training() -> None:
    found = rates(Schedule(name="cosine", warmup_epochs=5), 1, 4)
    assert len(found) == 4 and all(0 < rate <= LR for rate in found) and found[-1] == pytest.approx(LR)


def test_a_new_schedule_goes_on_where_the_old_one_was() -> None:
    config = Schedule(name="cosine", warmup_epochs=1)
    expected = rates(config, 4, 5)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    schedule = Moving(config, optimizer, 4, 5)
    schedule.load_state_dict({"updates": 12})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected[12])


def network() -> torch.nn.Module:
    import timm

    return timm.create_model("resnet10t", num_classes=3)


def test_biases_and_norms_are_spared_decay_and_lower_layers_move_less() -> None:
    groups = build_optimizer(OptimizerConfig(name="adamw", lr=LR, weight_decay=0.1), network()).param_groups
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}
    optimizer = build_optimizer(OptimizerConfig(name="sgd", lr=LR, layer_decay=0.5), network())
    Moving(Schedule(name="constant"), optimizer, 1, 1)
    moved = sorted({group["lr"] for group in optimizer.param_groups})
    assert max(moved) == pytest.approx(LR) and len(moved) > 2
    assert moved[-2] == pytest.approx(LR / 2)


def test_what_timm_does_not_know_is_named() -> None:
    with pytest.raises(ModelError, match="no optimizer 'adamv'") as caught:
        build_optimizer(OptimizerConfig(name="adamv", lr=LR), network())
    assert "adam" in caught.value.remedy
    with pytest.raises(ModelError, match="momentun"):
        build_optimizer(OptimizerConfig(name="sgd", lr=LR, arguments={"momentun": 0.9}), network())
