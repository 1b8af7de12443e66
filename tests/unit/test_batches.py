"""Which images a step sees is a function of the seed: else no training could be repeated, split or taken up again."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from imagewright.errors import ConfigError
from imagewright.tensors.dataset import Batch, TensorSplit
from imagewright.train.batches import DrawnBatches, EpochBatches, image_weights, train_loader, val_loader


def positions(batches: EpochBatches) -> list[list[int]]:
    return [drawn for _, drawn in batches]


@given(
    images=st.integers(1, 200),
    accumulate=st.integers(1, 3),
    processes=st.integers(1, 3),
    parts=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_processes_and_parts_share_the_steps_of_one(
    images: int, accumulate: int, processes: int, parts: int, seed: int
) -> None:
    size = accumulate * processes * parts
    assume(images >= accumulate * processes)
    whole = positions(EpochBatches(images, size, seed=seed))
    ranks = [positions(EpochBatches(images, size, accumulate, seed, rank, processes)) for rank in range(processes)]
    for step, together in enumerate(whole):
        own = [
            position
            for part in range(step * accumulate, (step + 1) * accumulate)
            for rank in ranks
            for position in rank[part]
        ]
        assert own == together
    sizes = [len(drawn) for rank in ranks for drawn in rank]
    assert min(sizes) > 0 and max(sizes) - min(sizes) <= (images < size)
    drawn = [position for step in whole for position in step]
    assert len(set(drawn)) == len(drawn) == images // min(size, images) * min(size, images)


@pytest.mark.parametrize(("accumulate", "processes"), [(8, 1), (1, 8), (4, 2)])
def test_fewer_images_than_parts_are_named(accumulate: int, processes: int) -> None:
    # Else some parts would be empty, and the loss of nothing is a traceback or NaN.
    with pytest.raises(ConfigError, match=r"a step of 6 images cannot be cut into 8 parts") as caught:
        EpochBatches(6, 8, accumulate, processes=processes)
    assert "6 parts at most" in caught.value.remedy


def test_unequal_parts_weigh_what_they_hold() -> None:
    batches = EpochBatches(6, 8, accumulate=4)
    sizes = [len(drawn) for drawn in positions(batches)]
    assert sizes == [2, 2, 1, 1]
    assert [batches.weight(size) / 4 for size in sizes] == pytest.approx([size / 6 for size in sizes])
    assert EpochBatches(40, 8, accumulate=4).weight(2) == 1


def test_every_epoch_has_its_own_order() -> None:
    batches = EpochBatches(40, 8, seed=3)
    first = list(batches)
    batches.next_epoch()
    second = list(batches)
    assert sorted(chain.from_iterable(drawn for _, drawn in first)) == list(range(40))
    assert sorted(chain.from_iterable(drawn for _, drawn in second)) == list(range(40))
    assert first != second
    # Augmentation draws anew each time, too.
    assert not {seed for seed, _ in first} & {seed for seed, _ in second}
    assert len({seed for seed, _ in first}) == len(first)


@pytest.mark.parametrize("stopped", [(0, 0), (0, 3), (2, 5)])
def test_a_new_process_goes_on_where_the_old_one_stopped(stopped: tuple[int, int]) -> None:
    epoch, done = stopped
    old = EpochBatches(40, 8, seed=1)
    old.epoch = epoch
    rest = list(old)[done:]
    old.done = done
    new = EpochBatches(40, 8, seed=1)
    new.load_state_dict(old.state_dict())
    assert list(new) == rest


def test_balanced_draws_make_rare_classes_common() -> None:
    targets = [0] * 90 + [1] * 9 + [3]
    batches = EpochBatches(100, 50, weights=image_weights(targets))
    drawn = [
        targets[position]
        for _ in range(40)
        for _, step in [*batches, batches.next_epoch() or (0, [])]
        for position in step
    ]
    shares = np.bincount(drawn) / len(drawn)
    np.testing.assert_allclose(shares[[0, 1, 3]], 1 / 3, atol=0.04)


class Recorded(TensorSplit):
    """Ten 2×2 pictures; the value of each is its position."""

    def __init__(self) -> None:
        self.images = np.arange(10, dtype=np.uint8).repeat(4).reshape(10, 2, 2, 1)
        self.targets = np.arange(10)
        self.sha256 = ""


def noisy(images: torch.Tensor, targets: torch.Tensor) -> Batch:
    return images + torch.randint(0, 100, images.shape, dtype=torch.uint8), targets


def test_workers_change_nothing_and_the_global_generator_is_left_alone() -> None:
    def all_of(workers: int) -> torch.Tensor:
        batches = EpochBatches(10, 2, seed=5)
        return torch.cat([images for images, _ in train_loader(batches, DrawnBatches(Recorded(), noisy), workers)])

    before = torch.get_rng_state()
    alone = all_of(0)
    assert torch.equal(torch.get_rng_state(), before), "a resumed training would draw other dropout masks"
    assert torch.equal(alone, all_of(2))
    assert len(torch.unique(alone)) > 10


def test_processes_share_val_without_a_copy_and_without_a_gap() -> None:
    seen = [targets for rank in range(3) for _, part in val_loader(Recorded(), 2, rank, 3) for targets in part.tolist()]
    assert sorted(seen) == list(range(10))
