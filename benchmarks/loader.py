"""How close training from stored tensors comes to training without loading anything, beside timm's own loader.

Run: python benchmarks/loader.py --images <a folder of class folders of JPEG files>
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.lib.format import open_memmap
from rounds import take_turns, write_ratios
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

import imagewright.models  # noqa: F401  # before timm
from imagewright.config.tensors import InputConfig
from imagewright.imaging import load_image
from imagewright.models.build import ModelSpec
from imagewright.models.network import build_network
from imagewright.tensors.dataset import TensorSplit

BATCH = 32
GOAL = 0.95


def main(
    images: Annotated[Path, typer.Option(help="Class folders of JPEG files.")],
    model: Annotated[str, typer.Option(help="A timm model.")] = "resnet18",
    side: Annotated[int, typer.Option(help="Pictures are trained on at this size, in pixels.")] = 64,
    count: Annotated[int, typer.Option(help="How many of the files to use.")] = 640,
    rounds: Annotated[int, typer.Option(help="Each loader has its turn in each of them.")] = 7,
    steps: Annotated[int, typer.Option(help="Training steps in a turn.")] = 30,
    threads: Annotated[int, typer.Option(help="CPU threads that PyTorch computes with.")] = 2,
) -> None:
    """Train the same model from synthetic data, from tensors, and through timm's loader, and compare the rates."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    paths = sorted(images.rglob("*.jpg"))[:count]
    if len(paths) < BATCH:
        raise SystemExit(f"{images}: {len(paths)} JPEG files are too few")
    with tempfile.TemporaryDirectory() as folder:
        split = write_tensors(paths, side, Path(folder))
        one_batch = split[list(range(BATCH))]
        batches = {
            "synthetic": itertools.repeat(one_batch),
            "tensors": endless(from_tensors(split)),
            "timm": endless(from_timm(images, paths, side, workers=0)),
            "timm, 2 workers": endless(from_timm(images, paths, side, workers=2)),
        }
        steppers = {name: stepper(model, side, stream, name.startswith("timm")) for name, stream in batches.items()}
        seconds = take_turns(steppers, rounds, steps)
    ratios = write_ratios(
        f"loader-{model}-{side}",
        f"Training {model} at {side} pixels",
        seconds,
        "synthetic",
        f"`python benchmarks/loader.py --images <folder> --model {model} --side {side} --steps {steps}`: "
        f"{len(paths)} JPEG files of real photographs, batches of {BATCH}, "
        f"{threads} CPU threads ({torch.backends.cpu.get_cpu_capability()}), {rounds} rounds of {steps} steps. "
        "`synthetic` trains on one batch over and over, so nothing is loaded: the bound. No augmentation.",
    )
    if ratios["tensors"] < GOAL:
        raise SystemExit(f"tensors reach {ratios['tensors']:.3f} of the synthetic rate, under the goal of {GOAL}")


def write_tensors(paths: list[Path], side: int, folder: Path) -> TensorSplit:
    """The files as the workflow stores them."""
    form = InputConfig(height=side, width=side, colour="rgb", fit="crop")
    stored = open_memmap(folder / "train.images.npy", "w+", np.uint8, (len(paths), side, side, 3))
    for position, path in enumerate(paths):
        stored[position] = load_image(path.read_bytes(), form)
    stored.flush()
    np.save(folder / "train.targets.npy", np.arange(len(paths)) % 10)
    return TensorSplit(folder, "train")


def from_tensors(split: TensorSplit) -> Any:
    """The loader that `train` uses."""
    sampler = BatchSampler(RandomSampler(split), BATCH, drop_last=True)
    return DataLoader(split, sampler=sampler, batch_size=None)


def from_timm(images: Path, paths: list[Path], side: int, workers: int) -> Any:
    """timm's loader on the same files: decode, resize, crop; uint8 batches as its prefetcher takes them."""
    from timm.data import ImageDataset, create_loader

    dataset = ImageDataset(str(images))
    wanted = set(map(str, paths))
    dataset.reader.samples = [sample for sample in dataset.reader.samples if str(sample[0]) in wanted]
    return create_loader(
        dataset, input_size=(3, side, side), batch_size=BATCH, is_training=True, no_aug=True, num_workers=workers,
        use_prefetcher=False, persistent_workers=workers > 0,
    )  # fmt: skip


def endless(loader: Any) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


def stepper(model: str, side: int, stream: Iterator[Any], normalised: bool) -> Callable[[], None]:
    """One training step on the next batch; timm's loader has normalised already."""
    torch.manual_seed(0)
    network = build_network(
        ModelSpec("timm", model, 3, 120, "classification", side, side), [0.5] * 3, [0.25] * 3
    ).train()
    forward = network.backbone if normalised else network
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)

    def step() -> None:
        pictures, targets = next(stream)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(forward(pictures), targets).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    typer.run(main)
