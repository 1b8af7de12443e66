"""Stage `gate`: compare every runtime of the exported model, over HTTP too, and judge it."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import Config, Evidence, Index, Model, Out, Tensors, run

Exported = Annotated[Path, typer.Option(help="What `export` wrote: results/export/<experiment>.")]
Manifest = Annotated[Path, typer.Option(help="The list of raw data that `fetch` wrote: data/raw/<data>.json.")]
Evaluated = Annotated[Path, typer.Option(help="What `evaluate` wrote: results/evaluate/<experiment>.")]


def gate(
    config: Config,
    model: Model,
    exported: Exported,
    tensors: Tensors,
    manifest: Manifest,
    index: Index,
    evaluated: Evaluated,
    out: Out,
    evidence: Evidence,
) -> None:
    """Write gate.json, or stop and say which limit is broken.

    \b
    Example:
      python scripts/gate.py --config results/resolve/gate/digits.yaml --model results/select/digits \\
        --exported results/export/digits --tensors results/tensors/digits-gray28 \\
        --manifest data/raw/digits.json --index results/index/digits --evaluated results/evaluate/digits \\
        --out results/gate/digits --evidence logs/gate/digits
    """
    from imagewright.config.gate import GateSection
    from imagewright.files import staged
    from imagewright.gate.judge import judge_export

    with staged(out) as work:
        # The images lie in a folder beside their list.
        raw = manifest.with_suffix("")
        judge_export(GateSection.read(config), model, exported, tensors, raw, index, evaluated, work, evidence)


if __name__ == "__main__":
    run(gate)
