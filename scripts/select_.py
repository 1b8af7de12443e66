"""Stage `select`: choose the best trial on val and calibrate it."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import Config, Out, Tensors, run

Trials = Annotated[Path, typer.Option(help="What `train` wrote: results/train/<experiment>, a folder a trial.")]


def select(config: Config, trials: Trials, tensors: Tensors, out: Out) -> None:
    """Write the best trial's model.safetensors, and selection.json with its temperature.

    \b
    Example:
      python scripts/select_.py --config results/resolve/select/digits.yaml --trials results/train/digits \\
        --tensors results/tensors/digits-gray28 --out results/select/digits
    """
    from imagewright.config.select import SelectSection
    from imagewright.files import staged
    from imagewright.select.choose import select_trial

    with staged(out) as work:
        select_trial(SelectSection.read(config), trials, tensors, work)


if __name__ == "__main__":
    run(select)
