"""What would run, on which machines, how long and for how much money; and afterwards, what it took."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from imagewright.bundle.benchmark import benchmark_file, read_benchmark
from imagewright.config.resolve import HERE, STAGES
from imagewright.errors import BrokenFileError, PlanError
from imagewright.files import read_json, write_json
from imagewright.machines import Machine, Machines, asked

REMEMBERED = "runs/plan.json"
PROFILES = "workflow/profiles"


@dataclass(frozen=True)
class PlannedJob:
    """A job that would run.

    Attributes:
        stage: its rule.
        name: of the data, the tensors, the experiment or the experiment's trial.
        machine: the machine type, "here", or None where the profile does not say.
        cards: how many GPUs, and of which model.
        spot: whether the machine can be taken away at any moment.
        price: of the machine, in dollars an hour; None where nobody has written it down, 0 for this machine.
        seconds: how long it took when it ran last; None where it never did.
        peak_memory_mb: the same of its memory.
    """

    stage: str
    name: str
    machine: str | None
    cards: str
    spot: bool
    price: float | None
    seconds: float | None
    peak_memory_mb: float | None

    @property
    def cost(self) -> float | None:
        """In dollars; None where the time or the price is not known."""
        if self.price == 0:
            return 0.0
        return None if None in (self.seconds, self.price) else self.seconds / 3600 * self.price  # type: ignore[operator]


@dataclass(frozen=True)
class Plan:
    """What would run, or what ran.

    Attributes:
        jobs: in the order of the stages.
        prices: where and when the prices hold, or "" without any.
        made: when the plan was made, in seconds since 1970.
    """

    jobs: list[PlannedJob]
    prices: str
    made: float


def plan(root: Path, profile: str | None, arguments: Sequence[str] = ()) -> Plan:
    """Ask Snakemake what it would run, and remember it for `took`.

    Args:
        root: the project's folder.
        profile: a name in `workflow/profiles/`, or the path of a profile.
        arguments: for Snakemake: targets, `--config`, `--set-resources` and so on.

    Raises:
        PlanError: Snakemake cannot plan; its own words go to the screen.
        ConfigError: the profile's machine types cannot be read, or none is large enough.
    """
    settings = _profile(root, profile) if profile else {}
    path = settings.get("imagewright-batch-machines")
    machines = Machines.read(root / path) if path else None
    # As a file, not as a module of this package: the Snakefile decides whose code it plans with.
    asks = (sys.executable, "-P", str(Path(__file__).with_name("jobs.py")))
    command = [*asks, *(("--profile", profile) if profile else ()), *arguments]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise PlanError(
            f"snakemake cannot plan: it ended with {done.returncode}", "see what it says above, and put it right"
        )
    spot = set(settings.get("preemptible-rules") or ())
    jobs = [_planned(root, job, machines, spot) for job in json.loads(done.stdout) if job["rule_name"] in STAGES]
    jobs.sort(key=lambda job: (STAGES.index(job.stage), job.name))
    prices = f"{machines.region}, {machines.priced}" if machines else ""
    made = Plan(jobs, prices, time.time())
    write_json(root / REMEMBERED, asdict(made))
    return made


def took(root: Path) -> tuple[Plan, Plan]:
    """The plan that was made last, and the same jobs with what they have taken since; None for those that have not run.

    Raises:
        PlanError: no plan was made here.
    """
    try:
        known = read_json(root / REMEMBERED)
        before = Plan([PlannedJob(**job) for job in known["jobs"]], known["prices"], known["made"])
    except (OSError, BrokenFileError, KeyError, TypeError) as error:
        raise PlanError("no plan was made here", "make one before the run: imagewright plan --profile gcp") from error
    results = root / "results"

    def now(job: PlannedJob) -> PlannedJob:
        file = benchmark_file(results, job.stage, job.name)
        since = file.is_file() and file.stat().st_mtime > before.made
        measured = read_benchmark(results, job.stage, job.name) if since else {}
        return PlannedJob(
            **asdict(job) | {name: measured.get(name) for name in ("seconds", "peak_memory_mb")}  # type: ignore[arg-type]
        )

    return before, Plan([now(job) for job in before.jobs], before.prices, before.made)


def _planned(root: Path, job: dict[str, Any], machines: Machines | None, spot: set[str]) -> PlannedJob:
    stage = job["rule_name"]
    name = job["benchmark"].removeprefix(f"results/benchmark/{stage}/").removesuffix(".tsv")
    before = read_benchmark(root / "results", stage, name)
    here = stage in HERE
    machine = None if here or machines is None else _machine(machines, job)
    cards = int(job["resources"].get("gpu") or 0)
    is_spot = bool(machine) and stage in spot
    price = (machine.spot if is_spot else machine.price) if machine else None
    return PlannedJob(
        stage=stage,
        name=name,
        machine="here" if here else machine.name if machine else None,
        cards=f"{cards} {machine.card}" if machine and machine.card else str(cards or ""),
        spot=is_spot,
        price=0.0 if here else price,
        seconds=before["seconds"],
        peak_memory_mb=before["peak_memory_mb"],
    )


def _machine(machines: Machines, job: dict[str, Any]) -> Machine:
    # A rule can be given a type by name, as the executor allows it.
    given = job["resources"].get("googlebatch_machine_type")
    if given:
        return next((one for one in machines.types if one.name == given), Machine(given, 0, 0))
    return machines.cheapest(*asked(job["resources"], job["threads"]))


def _profile(root: Path, name: str) -> dict[str, Any]:
    for folder in (root / name, root / PROFILES / name):
        for file in (folder / "profile.yaml", folder / "config.yaml"):
            if file.is_file():
                return yaml.safe_load(file.read_text()) or {}
    raise PlanError(f"there is no profile {name}", f"profiles are folders in {PROFILES}/: gcp, slurm")
