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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
import yaml
from checkout import CHECKOUT, copy_checkout
from rounds import MEASUREMENTS, ratio

ROUNDS = 5
PLAN, RECORD = ("snakemake", "--cores", "1", "-n"), ("dvc", "repro")
ALONE = "DVC alone"
BUILT = "`snakemake -n`, built here"
# A dry run that writes of each job what a run would write; `snakemake --touch` takes minutes for it.
REMEMBER = """
from snakemake.cli import main
from snakemake.dag import DAG

init = DAG.init

async def remember(dag, *given, **named):
    await init(dag, *given, **named)
    for job in list(dag.jobs):
        if job.output:
            await dag.workflow.persistence.finished(job)

DAG.init = remember
main(["--cores", "1", "-n", "--quiet"])
"""
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
    tables = [Path("results/report", *table) for name in names for table in _tables(name)]
    files = [root / path for path in (*made, *sorted(measured), *tables)]
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


def _tables(name: str) -> list[tuple[str, str]]:
    """What lies beside the summary, and is no output of Snakemake's."""
    return [("metrics", f"{name}.json"), ("curves", f"{name}.csv"), ("confusion", f"{name}.csv")]


@contextmanager
def built_here(root: Path) -> Iterator[None]:
    """Let Snakemake have its records of every job, as where the jobs ran; a clone that was pulled has none."""
    records, aside = root / ".snakemake/metadata", root / ".snakemake/records"
    if aside.is_dir():
        shutil.rmtree(records, ignore_errors=True)
        aside.rename(records)
    else:
        run(root, sys.executable, "-c", REMEMBER)
    try:
        yield
    finally:
        records.rename(aside)


def run(root: Path, *command: str) -> str:
    """Run a command that has to succeed."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=root, env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout


def seconds(root: Path, *command: str) -> float:
    """How long a command takes."""
    started = time.perf_counter()
    run(root, *command)
    return time.perf_counter() - started


@contextmanager
def one_stage(root: Path) -> Iterator[None]:
    """Let DVC know one stage, which made all that ours make, and so look at each file once and do nothing else."""
    names = ("dvc.yaml", "dvc.lock")
    ours = {name: (root / name).read_text() for name in names}
    stages = yaml.safe_load(ours["dvc.yaml"])["stages"]
    outs = [out for stage in stages.values() for out in stage["outs"]]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"all": {"cmd": "true", "outs": outs}}}))
    (root / "dvc.lock").unlink()
    run(root, "dvc", "commit", "--force", "--quiet")
    try:
        yield
    finally:
        for name, text in ours.items():
            (root / name).write_text(text)


def main(experiments: Annotated[int, typer.Option(help="How many.")] = 500) -> None:
    """Measure with one experiment and with many in turn, and write docs/measurements/many.md."""
    commands = {"`snakemake -n`": PLAN, "`dvc repro`": RECORD, "`dvc status`": ("dvc", "status")}
    taken: dict[tuple[int, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many:
        roots = {1: Path(one), experiments: Path(many)}
        for count, root in roots.items():
            prepare(root, count)
        for _ in range(ROUNDS):
            for count, root in roots.items():
                for name, command in commands.items():
                    taken.setdefault((count, name), []).append(seconds(root, *command))
                with built_here(root):
                    taken.setdefault((count, BUILT), []).append(seconds(root, *PLAN))
                with one_stage(root):
                    taken.setdefault((count, ALONE), []).append(seconds(root, *RECORD))
        files = {count: sum(path.is_file() for path in (root / "results").rglob("*")) for count, root in roots.items()}
    columns = [*commands, BUILT, ALONE]
    rows = [
        ["experiments", "files", *columns],
        *([count, files[count], *(f"{median(taken[count, name]):.2f}" for name in columns)] for count in roots),
        ["ratio", "", *(ratio(taken[experiments, name], taken[1, name]) for name in columns)],
    ]
    lines = [f"| {' | '.join(str(value) for value in row)} |" for row in rows]
    text = f"""# Nothing to do, with many experiments

`python benchmarks/many.py --experiments {experiments}`: medians of {ROUNDS} calls, in seconds, in turn; ratios with
95 % intervals over the rounds. The results are as after `imagewright pull`; *built here* has Snakemake's own records of
each job as well, which it reads. DVC alone has one stage that made all files, so that it looks at each once.

{lines[0]}
|{"---:|" * len(rows[0])}
{chr(10).join(lines[1:])}

`dvc repro` takes {ratio(taken[experiments, "`dvc repro`"], taken[experiments, ALONE])} of the time of DVC alone.
"""
    (MEASUREMENTS / "many.md").write_text(text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
