"""Which images make up each step, and how they are drawn: a pure function of the seed, so that a training can resume.

The order of an epoch depends on the seed and the epoch; what augmentation does to a batch depends on the seed, the
epoch and the batch. Neither the number of loading workers nor an interruption changes them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from imagewright.errors import ConfigError
from imagewright.tensors.dataset import Batch, TensorSplit

Draw = tuple[int, list[int]]
"""A seed for what is random about a batch, and the positions of its images."""


class EpochBatches(Sampler[Draw]):
    """The batches of one process: each step's images, cut into `accumulate` × `processes` parts.

    The parts are equal, but where a split has fewer images than a batch: there they may differ by one image.

    Args:
        images: in the split.
        batch_size: images a step, over all processes and accumulated parts.
        accumulate: parts of a step that one process works on in turn.
        seed: of the order.
        rank: of this process.
        processes: in all.
        weights: how likely each image is to be drawn, with replacement; none for every image once an epoch.

    Attributes:
        epoch: from 0.
        done: batches of this epoch that this process has trained on.

    Raises:
        ConfigError: there are fewer images than parts.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        accumulate: int = 1,
        seed: int = 0,
        rank: int = 0,
        processes: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        if images < accumulate * processes:
            raise ConfigError(
                f"train: a step of {images} images cannot be cut into {accumulate * processes} parts "
                f"(train.accumulate {accumulate} × train.processes {processes})",
                f"lower them to {images} parts at most, or add images to the train split",
            )
        self.images = images
        self.batch_size = min(batch_size, images)
        self.accumulate = accumulate
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.weights = weights
        # A last step of one image would break batch norm, so what does not fill a step waits for another epoch.
        self.steps = images // self.batch_size
        self.epoch = 0
        self.done = 0

    def __len__(self) -> int:
        """Batches of this process in an epoch."""
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[Draw]:
        """The rest of the epoch."""
        order = self._order()
        for number in range(self.done, len(self)):
            step, part = divmod(number, self.accumulate)
            of_step = order[step * self.batch_size : (step + 1) * self.batch_size]
            own = np.array_split(of_step, self.accumulate * self.processes)[part * self.processes + self.rank]
            yield _seed(self.seed, 1, self.epoch, number, self.rank), own.tolist()

    def weight(self, images: int) -> float:
        """What a part of so many images weighs beside an equal part: 1 wherever all are equal."""
        return images * self.accumulate * self.processes / self.batch_size

    def next_epoch(self) -> None:
        """Start the next epoch at its first batch."""
        self.epoch += 1
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        """Where the training is."""
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken."""
        self.epoch, self.done = state["epoch"], state["done"]

    def _order(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        generator = torch.Generator().manual_seed(_seed(self.seed, 0, self.epoch))
        if self.weights is None:
            return torch.randperm(self.images, generator=generator).numpy()
        weights = torch.tensor(self.weights, dtype=torch.float64)
        return torch.multinomial(weights, self.images, replacement=True, generator=generator).numpy()


class DrawnBatches(Dataset[Batch]):
    """A split whose items are drawn batches, augmented with the batch's own seed.

    Args:
        split: the stored tensors.
        augment: takes N × H × W × C uint8 images and targets; uses PyTorch's global generator alone.
    """

    def __init__(self, split: TensorSplit, augment: Callable[[Tensor, Tensor], Batch] | None) -> None:
        self.split = split
        self.augment = augment

    def __getitem__(self, draw: Draw) -> Batch:
        """One batch."""
        seed, positions = draw
        images, targets = self.split[positions]
        if self.augment is None:
            return images, targets
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.augment(images, targets)


def train_loader(batches: EpochBatches, drawn: DrawnBatches, workers: int) -> "DataLoader[Batch]":
    """Loads the rest of the epoch each time that it is iterated; the number of workers changes no result."""
    return _loader(drawn, batches, workers)


def val_loader(val: TensorSplit, batch_size: int, rank: int, processes: int) -> "DataLoader[Batch]":
    """Every `processes`-th image of val from `rank` on, in order and as stored."""
    own = range(rank, len(val), processes)
    batches = [list(own[start : start + batch_size]) for start in range(0, len(own), batch_size)]
    return _loader(val, batches, 0)


def _loader(dataset: Dataset[Batch], batches: Iterable[Any], workers: int) -> "DataLoader[Batch]":
    return DataLoader(
        dataset,
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        # Else every iteration would draw a number from the global generator, and a resumed epoch one more.
        generator=torch.Generator(),
    )


def image_weights(targets: Sequence[int]) -> list[float]:
    """Weights under which every class is drawn equally often: one over the number of images of its class."""
    counts = np.bincount(targets)
    return (1.0 / counts[targets]).tolist()  # type: ignore[no-any-return]


def _seed(*parts: int) -> int:
    """One seed from several numbers, by NumPy's SeedSequence: near ones give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
