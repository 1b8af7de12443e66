"""The learning rate, step by step: a warm-up that never ends or a rate that falls to nothing shows in no error."""

import math

import pytest
import torch

from imagewright.config.train import Schedule
from imagewright.train.schedule import build_schedule

LR = 0.2


def rates(config: Schedule, steps: int, steps_per_epoch: int) -> list[float]:
    """The rate that each step is taken with."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    schedule = build_schedule(config, optimizer, steps, steps_per_epoch)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_constant() -> None:
    assert rates(Schedule(name="constant"), 5, 2) == [LR] * 5


def test_warm_up_is_a_straight_line_to_the_full_rate() -> None:
    found = rates(Schedule(name="constant", warmup_epochs=1), 12, 4)
    assert found == pytest.approx([LR * share for share in (0.2, 0.4, 0.6, 0.8)] + [LR] * 8)


def test_cosine_like_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=LR * 0.1)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(Schedule(name="cosine", final_ratio=0.1), 20, 5) == pytest.approx(expected)


def test_cosine_after_a_warm_up() -> None:
    found = rates(Schedule(name="cosine", warmup_epochs=0.5, final_ratio=0.0), 12, 4)
    assert found[:2] == pytest.approx([LR / 3, LR * 2 / 3])
    for step in range(2, 12):
        assert found[step] == pytest.approx(LR * (1 + math.cos(math.pi * (step - 2) / 10)) / 2)


def test_the_rate_never_rises_again() -> None:
    found = rates(Schedule(name="cosine", warmup_epochs=1, final_ratio=0.05), 50, 5)
    top = found.index(max(found))
    assert top == 5 and max(found) == pytest.approx(LR)
    assert found[: top + 1] == sorted(found[: top + 1]) and found[top:] == sorted(found[top:], reverse=True)
    assert LR * 0.05 < found[-1] < LR * 0.06


@pytest.mark.parametrize("warmup", [5.0, 1000.0])
def test_a_warm_up_longer_than_the_training_still_arrives(warmup: float) -> None:
    # One epoch to try something out, with the usual config.
    assert rates(Schedule(name="cosine", warmup_epochs=warmup), 6, 2)[-1] == pytest.approx(LR)


def test_a_single_step() -> None:
    assert rates(Schedule(name="cosine", warmup_epochs=1), 1, 1) == [LR]


def test_steps_beyond_the_end_stay_at_the_final_rate() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    schedule = build_schedule(Schedule(name="cosine", final_ratio=0.1), optimizer, 4, 2)
    for _ in range(9):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(LR * 0.1)
