"""Nothing to do, with many experiments: how long Snakemake and DVC take to find that out.

The experiments are real configs on one data set; their results are stand-ins of a few bytes: only names, times and
hashes count here.

Run: python benchmarks/many.py --experiments 500
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from checkout import CHECKOUT, copy_checkout
from rounds import MEASUREMENTS

ROUNDS = 5
GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.org")


def prepare(root: Path, count: int) -> None:
    """A Git repository with `count` experiments, which differ in their seeds, and something in place of each result."""
    copy_checkout(root)
    shutil.copytree(CHECKOUT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "*.local"))
    shutil.copyfile(CHECKOUT / ".gitignore", root / ".gitignore")
    names = [f"digits-{number:03d}" for number in range(count)]
    text = (root / "config/experiment/digits.yaml").read_text()
    for number, name in enumerate(names):
        (root / f"config/experiment/{name}.yaml").write_text(f"{text.rstrip()}\n  seed: {number}\n")
    (root / "config/workflow.yaml").write_text(f"experiments: [{', '.join(names)}]\n")
    summary = run(root, "snakemake", "--cores", "1", "--summary")
    made = [Path(line.split("\t")[0]) for line in summary.splitlines() if line.startswith(("results/", "data/"))]
    # A job's benchmark is not in that list: results/<stage>/<name>/... has results/benchmark/<stage>/<name>.tsv.
    measured = {
        Path("results/benchmark", *path.parts[1:-1]).with_suffix(".tsv") for path in made if len(path.parts) > 3
    }
    files = [root / path for path in (*made, *sorted(measured))]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{file.relative_to(root)}\n")
    moment = time.time_ns()
    for file in files:
        os.utime(file, ns=(moment, moment))
    run(root, *GIT, "init", "--quiet")
    run(root, *GIT, "add", "--all")
    run(root, *GIT, "commit", "--quiet", "--message", "Start")
    run(root, "dvc", "repro", "--quiet")


def run(root: Path, *command: str) -> str:
    """Run a command that has to succeed."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=root, env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout


def seconds(root: Path, *command: str) -> float:
    """The median time of a command."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run(root, *command)
        taken.append(time.perf_counter() - started)
    return median(taken)


def main(experiments: Annotated[int, typer.Option(help="How many.")] = 500) -> None:
    """Measure with one experiment and with many, side by side, and write docs/measurements/many.md."""
    lines = [
        "# Nothing to do, with many experiments",
        "",
        f"`python benchmarks/many.py --experiments {experiments}`: medians of {ROUNDS} calls, in seconds.",
        "",
        "| experiments | files | `snakemake -n` | `dvc repro` | `dvc status` |",
        "|---:|---:|---:|---:|---:|",
    ]
    for count in (1, experiments):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            prepare(root, count)
            files = sum(path.is_file() for path in (root / "results").rglob("*"))
            commands = (("snakemake", "--cores", "1", "-n"), ("dvc", "repro"), ("dvc", "status"))
            taken = [f"{seconds(root, *command):.1f}" for command in commands]
            lines.append(f"| {count} | {files} | {' | '.join(taken)} |")
    text = "\n".join(lines) + "\n"
    (MEASUREMENTS / "many.md").write_text(text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
