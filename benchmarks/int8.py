"""How much faster one picture is answered by the exported files than by PyTorch: resnet18 at 224, batch 1.

Run: python benchmarks/int8.py
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from exported import export_classifier
from rounds import take_turns, write_ratios

from imagewright.gate.runtimes import open_runtimes

SIDE, CLASSES = 224, 1000
GOAL = 2.5


def main(
    rounds: Annotated[int, typer.Option(help="Each runtime has its turn in each of them.")] = 7,
    calls: Annotated[int, typer.Option(help="Pictures in a turn.")] = 60,
    threads: Annotated[int, typer.Option(help="CPU threads of every runtime.")] = 2,
) -> None:
    """Export a resnet18 as the workflow does and time its runtimes on one picture at a time."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (16, SIDE, SIDE, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        export_classifier("resnet18", SIDE, CLASSES, pictures, root)
        runtimes = open_runtimes(root / "selected", root / "exported", threads, ("onnx", "int8"))
        seconds = take_turns(
            {name: lambda runtime=runtime: runtime(pictures[:1]) for name, runtime in runtimes.items()}, rounds, calls
        )
    ratios = write_ratios(
        "int8",
        "One picture through resnet18 at 224",
        seconds,
        "torch",
        f"`python benchmarks/int8.py`: batch 1, {threads} CPU threads "
        f"({torch.backends.cpu.get_cpu_capability()}), {rounds} rounds of {calls} pictures. The exported graphs "
        "include preprocessing and softmax; `torch` is the same graph in eager mode.",
    )
    if ratios["int8"] < GOAL:
        raise SystemExit(f"int8 is {ratios['int8']:.2f} times as fast as PyTorch, under the goal of {GOAL}")


if __name__ == "__main__":
    typer.run(main)
