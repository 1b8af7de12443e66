"""How much faster one picture is answered by the exported files than by PyTorch: resnet18 at 224, batch 1.

Run: python benchmarks/int8.py
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rounds import take_turns, write_ratios

from imagewright.config.export import ExportConfig, Int8
from imagewright.export.write import export_model
from imagewright.files import write_json
from imagewright.gate.runtimes import open_runtimes
from imagewright.models.build import ModelSpec
from imagewright.models.network import build_network, save_weights

SIDE, CHANNELS, CLASSES = 224, 3, 1000
GOAL = 2.5


def main(
    rounds: Annotated[int, typer.Option(help="Each runtime has its turn in each of them.")] = 7,
    calls: Annotated[int, typer.Option(help="Pictures in a turn.")] = 60,
    threads: Annotated[int, typer.Option(help="CPU threads of every runtime.")] = 2,
) -> None:
    """Export a resnet18 as the workflow does and time its runtimes on one picture at a time."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (16, SIDE, SIDE, CHANNELS), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("selected", "tensors", "exported"):
            (root / name).mkdir()
        spec = ModelSpec("timm", "resnet18", CHANNELS, CLASSES, "classification", SIDE, SIDE)
        save_weights(build_network(spec, [0.5] * 3, [0.25] * 3), root / "selected/model.safetensors")
        form = {"height": SIDE, "width": SIDE, "colour": "rgb", "fit": "crop", "background": 0}
        classes = [str(number) for number in range(CLASSES)]
        selection = {"model": spec.to_dict(), "input": form, "max_pixels": 10**8, "temperature": 1.0, "ignore": []}
        write_json(root / "selected/selection.json", selection | {"task": "classification", "classes": classes})
        np.save(root / "tensors/train.images.npy", pictures)
        np.save(root / "tensors/train.targets.npy", np.zeros(len(pictures), np.int64))
        config = ExportConfig(int8=Int8(images=len(pictures)))
        export_model(config, root / "selected", root / "tensors", root / "exported")
        runtimes = open_runtimes(root / "selected", root / "exported", threads)
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
