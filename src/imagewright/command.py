"""Run a stage's script: a command line from a typed function, and two lines instead of a traceback."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from imagewright.errors import ImagewrightError

Config = Annotated[Path, typer.Option(help="This stage's section, as the workflow writes it to results/resolve/.")]
Raw = Annotated[Path, typer.Option(help="The raw data: data/raw/<data>.")]
Index = Annotated[Path, typer.Option(help="What `index` wrote: results/index/<data>.")]
Tensors = Annotated[Path, typer.Option(help="What `tensors` wrote: results/tensors/<data>-<tensors>.")]
Model = Annotated[Path, typer.Option(help="What `select` wrote: results/select/<experiment>.")]
Out = Annotated[Path, typer.Option(help="The folder to write to; files appear in it when all of them are whole.")]
Evidence = Annotated[Path, typer.Option(help="The folder for what stands behind an error: lists, numbers, pictures.")]
Tracking = Annotated[
    Path | None,
    typer.Option(help="How the run is tracked, as results/resolve/tracking/ has it; without it, not."),
]
RUNS = Path("runs/wandb")
"""What Weights & Biases keeps, outside of every stage's outputs."""
Workers = Annotated[int, typer.Option(help="Processes to work with; the result does not depend on it.", min=1)]


def run(function: Callable[..., Any]) -> None:
    """Run `function` as a command; its parameters are the options and its docstring is the help.

    An `ImagewrightError` is printed in its two lines, and the exit status is 1.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(function)
    try:
        app()
    except ImagewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
