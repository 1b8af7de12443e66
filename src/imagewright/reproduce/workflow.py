"""Run the workflow in the scratch folder, as a person would, but for what it must not do from there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from imagewright.config.bundle import BundleSection
from imagewright.config.resolve import STAGES
from imagewright.errors import ReproduceError

# `fetch` would replace the raw data, to which there is but a link.
RULES = [stage for stage in STAGES if stage not in ("fetch", "report")]
ERROR = re.compile(r"^error: (.+)\n  (.+)$", re.MULTILINE)
TARGETS = {"index": "results/index/{data}/index.parquet", "bundle": "results/bundle/{experiment}/bundle.json"}


def build(folder: Path, section: BundleSection, stage: str, cores: int, lock: int) -> None:
    """Build up to `index` or to `bundle`; what Snakemake says goes to the screen.

    Args:
        folder: what `fill` made.
        section: the experiment.
        stage: the last stage to build.
        cores: what Snakemake may use.
        lock: the folder's lock, to be held by Snakemake even if this process is killed.

    Raises:
        ReproduceError: a stage stopped: in its own words, if it had some.
    """
    names = [section.experiment.split("~")[0]]
    command = [
        sys.executable, "-m", "snakemake", "--cores", str(cores), "--allowed-rules", *RULES,
        "--config", f"experiments={json.dumps(names)}", f"overrides={json.dumps(section.overrides)}",
        "--", TARGETS[stage].format(data=section.data, experiment=section.experiment),
    ]  # fmt: skip
    said = []
    with subprocess.Popen(  # noqa: S603
        command, cwd=folder, env=environment(os.environ), text=True, errors="replace", pass_fds=(lock,),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as running:  # fmt: skip
        for line in running.stdout or ():
            sys.stderr.write(line)
            said.append(line)
    if running.returncode:
        found = ERROR.findall("".join(said))
        raise ReproduceError(
            *found[-1]
            if found
            else (
                f"{section.experiment}: it could not be built again: snakemake ended with {running.returncode}",
                f"see what it says above, and {folder / 'logs'}",
            )
        )


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables for Snakemake and its jobs: no tracking, no cluster, and this interpreter's programs first."""
    # A profile could send the jobs elsewhere, and their results over the recorded ones.
    kept = {name: value for name, value in variables.items() if name not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")}
    # The run that was recorded is in Weights & Biases already.
    return kept | {"WANDB_MODE": "disabled", "PATH": f"{Path(sys.executable).parent}:{variables.get('PATH', '')}"}
