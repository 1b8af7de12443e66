# What the rules share: the plan, and the names of every stage's files. No rule is defined here.
import atexit
import gc
import os
import re
import shlex
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))
# One place decides which code runs: this checkout's, in every job, whatever the job's environment has installed. It is
# said in the job's own shell, since Snakemake takes the variable away where a conda environment is used.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(ROOT / 'src'))}; ")
# A plan is made of millions of objects, and none of them is garbage: to look for some took a fifth of its time, and
# when it ended another fifth.
gc.set_threshold(100_000, 50, 100)
atexit.register(gc.freeze)
# Threads that wait sleep: two trainings side by side on two cores took 187 s while they spun, 74 s now.
os.environ.update(OMP_WAIT_POLICY="PASSIVE")

import imagewright
from imagewright.config.resolve import STAGES, check_pulled, resolve
from imagewright.errors import ImagewrightError

if not Path(imagewright.__file__).resolve().is_relative_to(ROOT.resolve()):
    raise WorkflowError(
        f"{imagewright.__file__} is not this checkout's code: something imported it before the Snakefile"
    )


def listed(value):
    """A list from `--config name=a,b`, `'name=[a,b]'` or nothing."""
    if value is None or isinstance(value, list):
        return value
    return [part.strip() for part in str(value).split(",") if part.strip()]


def planned():
    """Compose the experiments; a mistake in config/ is two lines, not a traceback."""
    try:
        check_pulled(Path.cwd())
        return resolve(
            Path.cwd(),
            listed(config.get("experiments")),
            listed(config.get("overrides")) or [],
        )
    except ImagewrightError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


PLAN = planned()


def below(folder, *names):
    """Paths of files in one folder."""
    return [f"{folder}/{name}" for name in names]


EXPORTED = ("export.json", "model.onnx", "model.int8.onnx")
# What each stage makes.
FILES = {
    "fetch": ["data/raw/{data}.json"],
    "index": below("results/index/{data}", "index.parquet", "report.json"),
    "contact": below("results/index/{data}", "contact.png"),
    "tensors": below(
        "results/tensors/{tensors}",
        "meta.json",
        *(f"{split}.{kind}.npy" for split in ("train", "val", "test") for kind in ("images", "targets")),
    ),
    "train": below(
        "results/train/{experiment}/{trial}",
        "model.safetensors",
        "history.csv",
        "trial.json",
    ),
    "training": below("results/train/{experiment}/{trial}", "curves.png", "augmented.png"),
    "select": below("results/select/{experiment}", "model.safetensors", "selection.json"),
    "evaluate": below("results/evaluate/{experiment}", "metrics.json", "predictions.parquet"),
    "pictures": below(
        "results/evaluate/{experiment}",
        "confusion.png",
        "calibration.png",
        "examples.png",
    ),
    "export": below("results/export/{experiment}", *EXPORTED),
    "gate": below("results/gate/{experiment}", "gate.json"),
    "bundle": below(
        "results/bundle/{experiment}",
        "bundle.json",
        "gate.json",
        "record.json",
        "ro-crate-metadata.json",
        "Snakefile",
        *EXPORTED,
    ),
    "card": below("results/bundle/{experiment}", "card.md"),
    "summary": below("results/report", "summary.html"),
    "report": [],
}
# What a later stage reads of it, where that is a part. A job on another machine gets no other file, so that a training
# cannot see the test split; and a plan is the faster the fewer files it compares.
FILES |= {
    "table": below("results/index/{data}", "index.parquet"),
    "meta": below("results/tensors/{tensors}", "meta.json"),
    **{
        f"{split} split": below("results/tensors/{tensors}", f"{split}.images.npy", f"{split}.targets.npy")
        for split in ("train", "val", "test")
    },
    "records": below("results/train/{experiment}/{trial}", "trial.json"),
}
# Files that a report shows are listed apart, since a rule marks them.
SHOWN = {
    "index": "contact",
    "train": "training",
    "evaluate": "pictures",
    "bundle": "card",
    "report": "summary",
}


def shown(stage, category):
    """The files of a stage that `snakemake --report` shows, with their caption."""
    subcategory = re.findall(r"{(data|experiment)}", FILES[SHOWN[stage]][0])
    return report(
        FILES[SHOWN[stage]],
        caption=f"../report/{stage}.rst",
        category=category,
        **({"subcategory": f"{{{subcategory[0]}}}"} if subcategory else {}),
    )


def all_of(patterns):
    """The files that patterns mean, over all that is planned."""
    names = [
        {
            "experiment": experiment,
            "trial": trial,
            "tensors": facts["tensors"],
            "data": facts["data"],
        }
        for experiment, facts in PLAN.experiments.items()
        for trial in facts["trials"]
    ]
    return sorted({pattern.format(**name) for name in names for pattern in patterns})


def wanted(stage):
    """What to ask for so that no job of a stage is overlooked: one file of each, and every other that is missing.

    A job that failed has left none of its files. To ask for all of them would take a third of the time of a large plan.
    """
    others = all_of((FILES[stage] + FILES.get(SHOWN.get(stage), []))[1:])
    return one_of_each(stage) + [file for file in others if not os.path.exists(file)]


def one_of_each(stage):
    """The first file of each of a stage's jobs: a job makes all of its files or none."""
    return all_of((FILES[stage] + FILES.get(SHOWN.get(stage), []))[:1])


def names_of(wildcards):
    """Every name that a rule's wildcards mean: an experiment has its tensors, tensors have their data."""
    # Not `wildcard_constraints`: Snakemake would go through a list of all names at each file.
    for kind, name in wildcards.items():
        if name not in KNOWN[kind](wildcards):
            raise WorkflowError(f"{kind} {name} is not planned; to build it: snakemake --config experiments=<name> ...")
    names = dict(wildcards)
    names |= PLAN.experiments.get(names.get("experiment"), {})
    names.setdefault("data", PLAN.tensors.get(names.get("tensors")))
    return names


KNOWN = {
    "data": lambda wildcards: PLAN.data,
    "tensors": lambda wildcards: PLAN.tensors,
    "experiment": lambda wildcards: PLAN.experiments,
    "trial": lambda wildcards: PLAN.experiments[wildcards.experiment]["trials"],
}


def files_of(*stages):
    """An input function: files of stages for what the rule's wildcards mean; of trials, those of every one."""

    def files(wildcards):
        names = names_of(wildcards)
        return [
            pattern.format(**names | {"trial": trial})
            for stage in stages
            for pattern in FILES[stage]
            for trial in (names["trials"] if "{trial}" in pattern else [None])
        ]

    return files


def section(stage, name):
    """What each stage reads first: its section of the configuration, then its code's fingerprint."""
    return [f"results/resolve/{stage}/{name}.yaml", f"results/resolve/code/{stage}.json"]


def tracked(stage, name):
    """A section, and where the run is sent to, which changes no result."""
    return section(stage, name) + [ancient("results/resolve/tracking/{experiment}.yaml")]


def needs(name):
    """A function of the wildcards: what the config of a trial says of its processes, threads or files."""
    return lambda wildcards: names_of(wildcards)["trials"][wildcards.trial][name]


def trial_config(wildcards):
    """A trial's section, where its run is sent to, and a file of weights where it starts from one."""
    own = [path.format(**wildcards) for path in tracked("train", "{experiment}/{trial}")]
    return own[:2] + [ancient(own[2]), *needs("files")(wildcards)]


def launcher(wildcards):
    """What starts a training: Python, or torchrun where a trial wants several processes."""
    count = needs("processes")(wildcards)
    threads = needs("threads")(wildcards) // count
    return "python" if count == 1 else f"env OMP_NUM_THREADS={threads} torchrun --standalone --nproc-per-node {count}"


def raw_listing(wildcards):
    """For data in a folder of the user's, the listing that changes when a file is added or changed."""
    data = names_of(wildcards)["data"]
    return [f"results/resolve/raw/{data}.txt"] if data in PLAN.folders else []


STARTED = time.time()
# What Slurm writes about a job that it ended: of memory, where it uses cgroups and where it watches; of time.
LIMITS = {
    r"oom[-_ ]kill|exceeded .*memory limit": ("memory", "mem_mb"),
    r"due to time limit": ("time", "runtime"),
}


def print_errors():
    """Repeat what stopped a job, as the last thing on the screen: Snakemake's own account of a failure is long."""
    for log, text in written_since("logs/**/job.log"):
        if found := re.search(r"^error: .*(\n  .*)?", text, re.MULTILINE):
            print(f"\n{found.group()}\n  (from {log})", file=sys.stderr)
    for log, text in written_since(".snakemake/slurm_logs/**/*.log"):
        job = log.parts[2].removeprefix("rule_")
        for pattern, (limit, resource) in LIMITS.items():
            if re.search(pattern, text, re.IGNORECASE):
                print(
                    f"\nerror: {job}: Slurm ended the job, since it needed more {limit} than it had asked for"
                    f"\n  ask for more: --set-resources {job}:{resource}=<number>, or in the profile\n  (from {log})",
                    file=sys.stderr,
                )


def written_since(pattern):
    """The logs of this run, with what they say."""
    logs = sorted(log for log in Path().glob(pattern) if log.stat().st_mtime >= STARTED)
    return [(log, log.read_text(errors="replace")) for log in logs]


def print_next():
    """Say how to record what was built; DVC itself sets DVC_STAGE when it runs a command."""
    if Path(".dvc").is_dir() and "DVC_STAGE" not in os.environ:
        print("\nRecord it in dvc.lock, for other clones: dvc repro && dvc push", file=sys.stderr)
