# What the rules share: the plan, and the names of every stage's files. No rule is defined here.
import os
import re
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))
# One place decides which code runs: this checkout's, in every job, whatever the job's environment has installed.
os.environ.update(PYTHONPATH=str(ROOT / "src"))
# Threads that wait sleep: two trainings side by side on two cores took 187 s while they spun, 74 s now.
os.environ.update(OMP_WAIT_POLICY="PASSIVE")

from imagewright.config.resolve import STAGES, check_pulled, resolve
from imagewright.errors import ImagewrightError


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


wildcard_constraints:
    data="|".join(map(re.escape, PLAN.data)),
    tensors="|".join(map(re.escape, PLAN.tensors)),
    experiment="|".join(map(re.escape, PLAN.experiments)),
    trial="[A-Za-z0-9_.-]+",


def below(folder, *names):
    """Paths of files in one folder."""
    return [f"{folder}/{name}" for name in names]


EXPORTED = ("export.json", "model.onnx", "model.int8.onnx", "input.json", "labels.json")
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
        "augmented.png",
        "trial.json",
    ),
    "select": below(
        "results/select/{experiment}",
        "model.safetensors",
        "history.csv",
        "trials.csv",
        "selection.json",
    ),
    "choice": below("results/select/{experiment}", "trials.png", "augmented.png"),
    "evaluate": below("results/evaluate/{experiment}", "metrics.json", "predictions.parquet"),
    "pictures": below(
        "results/evaluate/{experiment}",
        "curves.png",
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
# What DVC compares and plots. It comes with the summary, and no target names it: Snakemake compares each file that is
# asked for with each of its job's inputs, which took two seconds of a plan with 500 experiments.
TABLES = [
    *(f"results/report/metrics/{name}.json" for name in PLAN.experiments),
    *(f"results/report/curves/{name}.csv" for name in PLAN.experiments),
    *(
        f"results/report/confusion/{name}.csv"
        for name, facts in PLAN.experiments.items()
        if facts["task"] == "classification"
    ),
]
# Files that a report shows are listed apart, since a rule marks them.
SHOWN = {"index": "contact", "select": "choice", "evaluate": "pictures", "bundle": "card", "report": "summary"}


def shown(stage, category):
    """The files of a stage that `snakemake --report` shows, with their caption."""
    subcategory = re.findall(r"{(data|experiment)}", FILES[SHOWN[stage]][0])
    return report(
        FILES[SHOWN[stage]],
        caption=f"../report/{stage}.rst",
        category=category,
        **({"subcategory": f"{{{subcategory[0]}}}"} if subcategory else {}),
    )


def outputs(stage):
    """Every file that a stage makes, over all that is planned."""
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
    patterns = FILES[stage] + FILES.get(SHOWN.get(stage), [])
    return sorted({pattern.format(**name) for name in names for pattern in patterns})


def names_of(wildcards):
    """Every name that a rule's wildcards mean: an experiment has its tensors, tensors have their data."""
    names = dict(wildcards)
    names |= PLAN.experiments.get(names.get("experiment"), {})
    names.setdefault("data", PLAN.tensors.get(names.get("tensors")))
    return names


def files_of(*stages):
    """An input function: files of stages for what the rule's wildcards mean; of `train`, those of every trial."""

    def files(wildcards):
        names = names_of(wildcards)
        found = []
        for stage in stages:
            for trial in names["trials"] if stage == "train" else [None]:
                found += [pattern.format(**names | {"trial": trial}) for pattern in FILES[stage]]
        return found

    return files


FOLDERS = {
    "raw": "data/raw/{data}",
    "report": "results/report",
    "checkpoints": "runs/train/{experiment}/{trial}",
    "index": "results/index/{data}",
    "tensors": "results/tensors/{tensors}",
    "trial": "results/train/{experiment}/{trial}",
    "train": "results/train/{experiment}",
    **{stage: f"results/{stage}/{{experiment}}" for stage in ("select", "evaluate", "export", "gate", "bundle")},
}


def folders(*stages):
    """A params function: the folders of stages, for `{params.at[<stage>]}` in a shell command."""
    return lambda wildcards: {stage: FOLDERS[stage].format(**names_of(wildcards)) for stage in sorted(stages)}


def section(stage, name):
    """What each stage reads first: its section of the configuration, then its code's fingerprint."""
    return [f"results/resolve/{stage}/{name}.yaml", f"results/resolve/code/{stage}.json"]


def tracked(stage, name):
    """A section, and where the run is sent to, which changes no result."""
    return section(stage, name) + [ancient("results/resolve/tracking/{experiment}.yaml")]


def needs(name):
    """A function of the wildcards: what the config of a trial says of its processes, threads or files."""
    return lambda wildcards: PLAN.experiments[wildcards.experiment]["trials"][wildcards.trial][name]


def trial_config(wildcards):
    """A trial's section, where its run is sent to, and a file of weights where it starts from one."""
    own = [path.format(**wildcards) for path in tracked("train", "{experiment}/{trial}")]
    return own[:2] + [ancient(own[2]), *needs("files")(wildcards)]


def launcher(wildcards):
    """What starts a training: Python, or torchrun where a trial wants several processes."""
    count = needs("processes")(wildcards)
    threads = needs("threads")(wildcards) // count
    return "python" if count == 1 else f"OMP_NUM_THREADS={threads} torchrun --standalone --nproc-per-node {count}"


def raw_listing(wildcards):
    """For data in a folder of the user's, the listing that changes when a file is added or changed."""
    return [f"results/resolve/raw/{wildcards.data}.txt"] if wildcards.data in PLAN.folders else []


def provenance(wildcards):
    """All the sections, code fingerprints and package versions that stand behind an experiment."""
    names = names_of(wildcards)
    shared = [
        f"fetch/{names['data']}",
        f"index/{names['data']}",
        f"tensors/{names['tensors']}",
    ]
    trials = [f"train/{names['experiment']}/{trial}" for trial in names["trials"]]
    own = [f"{stage}/{names['experiment']}" for stage in ("select", "evaluate", "export", "gate")]
    sections = [f"results/resolve/{name}.yaml" for name in shared + trials + own]
    return (
        sections
        + [f"results/resolve/code/{stage}.json" for stage in STAGES if stage != "report"]
        + ["requirements.lock"]
    )


STARTED = time.time()


def print_errors():
    """Repeat what stopped a stage, as the last thing on the screen: Snakemake's own account of a failure is long."""
    for log in sorted(Path("logs").rglob("job.log")):
        if log.stat().st_mtime >= STARTED:
            text = log.read_text(errors="replace")
            if found := re.search(r"^error: .*(\n  .*)?", text, re.MULTILINE):
                print(f"\n{found.group()}\n  (from {log})", file=sys.stderr)


def print_next():
    """Say how to record what was built; DVC itself sets DVC_STAGE when it runs a command."""
    if Path(".dvc").is_dir() and "DVC_STAGE" not in os.environ:
        print("\nRecord it in dvc.lock, for other clones: dvc repro && dvc push", file=sys.stderr)
