"""How many requests a second a served bundle answers, and how fast, with more and more users; every answer is checked.

Run in a project's folder: python benchmarks/loadtest.py --experiment digits
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
from tqdm import tqdm

from imagewright.bundle.hardware import this_machine
from imagewright.config.data import IndexSection
from imagewright.errors import EvidenceError, ImagewrightError, ServeError, first_line
from imagewright.files import read_json, write_json, write_text_if_changed
from imagewright.index.readers import open_reader

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
USERS = (1, 2, 4, 8, 16, 32, 64)
MOST_PICTURES = 256
"""They are kept in memory; of a larger split, as many are taken at equal distances."""
TIES = 1e-4
"""Share of the pixels that may fall either way: their two best classes are as good as equal, and batches differ."""
START_S, STOP_S, LAST_S, SPARE_S = 120, 45, 20, 60
EXAMPLES, TOLD = 3, 400


@dataclass(frozen=True)
class Level:
    """What a number of users got.

    Attributes:
        users: who ask at the same time, each one picture after another.
        answered: right answers.
        requests_a_second: right answers, from the first request to the last answer.
        p50_ms: of the right answers, as the other two percentiles; None without one.
        p95_ms: 95 of 100 took no longer.
        p99_ms: 99 of 100 took no longer.
        refused: requests that were told to come again (503 with Retry-After).
        failures: all others.
        examples: the first of the failures.
    """

    users: int
    answered: int
    requests_a_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    refused: int
    failures: int
    examples: list[str]

    def row(self) -> str:
        """A row of the report's table."""
        times = ("–" if time is None else f"{time:.1f}" for time in (self.p50_ms, self.p95_ms, self.p99_ms))
        return f"| {self.users} | {self.requests_a_second:.1f} | {' | '.join(times)} | {self.refused} | {self.failures} |"


def prepare(experiment: str, folder: Path) -> dict[str, Any]:
    """Write the pictures of the test split and `plan.json`: what is to be answered.

    Args:
        experiment: built in this project.
        folder: an empty one.

    Returns:
        The plan.

    Raises:
        EvidenceError: what was evaluated is not what the index has.
    """
    results = Path("results")
    bundle, gate = (read_json(results / f"bundle/{experiment}/{name}.json") for name in ("bundle", "gate"))
    rows = pd.read_parquet(results / f"index/{bundle['data']}/index.parquet").query("split == 'test'")
    evaluated = pd.read_parquet(results / f"evaluate/{experiment}/predictions.parquet").set_index("id")
    if set(rows["id"]) != set(evaluated.index):
        raise EvidenceError(
            f"{experiment}: other pictures were evaluated than the index has in test", "build it: snakemake --cores 8"
        )
    section = IndexSection.read(results / f"resolve/index/{bundle['data']}.yaml")
    reader = open_reader(section.layout, Path("data/raw") / bundle["data"], section.max_pixels)
    taken = np.linspace(0, len(rows) - 1, min(len(rows), MOST_PICTURES)).round().astype(int)
    labels, pictures = bundle["task"] == "classification", []
    for position, (key, path) in enumerate(rows.iloc[taken][["id", "path"]].itertuples(index=False)):
        # Equal names in two folders must not be confused, neither here nor in the server.
        name, told = str(position), evaluated.loc[key]
        (folder / name).write_bytes(reader.read(path))
        by_class = {key: f"predicted/{key}" for key in bundle["classes"] if f"predicted/{key}" in told}
        expected = told["predicted"] if labels else {key: int(told[column]) for key, column in by_class.items()}
        pictures.append({"name": name, "path": path, "expected": expected})
    judged = {name: gate["runtimes"][name] for name in bundle["runtimes"]}
    plan = {
        "bundle": bundle["id"],
        "task": bundle["task"],
        "classes": bundle["classes"],
        "size": [bundle["input"]["height"], bundle["input"]["width"]],
        # How many decisions may differ from those of PyTorch, which were evaluated.
        "runtimes": {
            name: found["flips"] + (0 if labels else int(TIES * found["decisions"])) for name, found in judged.items()
        },
        "pictures": pictures,
    }
    write_json(folder / "plan.json", plan)
    return plan


@contextmanager
def served(experiment: str, folder: Path, log: Path) -> Iterator[str]:
    """Serve the bundle as a user would, on a free port of 127.0.0.1, until the block ends.

    Args:
        experiment: built in this project.
        folder: for the file that has the address.
        log: what the server prints.

    Yields:
        The server's address.

    Raises:
        ServeError: it does not start, or does not end as it should.
    """
    ready = folder / "address"
    command = [sys.executable, "-m", "imagewright.cli", "serve", f"results/bundle/{experiment}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", "0", "--ready", str(ready)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield _wait(process, ready, log)
    except BaseException:
        _stop(process)
        raise
    if status := _stop(process):
        raise ServeError(f"the server was told to stop and ended with {status} instead of 0", f"see {log}")


def attack(url: str, users: int, seconds: int, folder: Path) -> dict[str, Any]:
    """Let users ask for some time, in a process of their own, and give what `locustfile.py` wrote.

    Raises:
        ServeError: Locust did not come to its end.
    """
    said, outcome = folder / "said", folder / "outcome.json"
    outcome.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--host", url, "--headless", "--only-summary",
        "--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s", "--stop-timeout", str(LAST_S),
    ]  # fmt: skip
    environment = os.environ | {"IMAGEWRIGHT_LOADTEST": str(folder)}
    with said.open("wb") as output:
        try:
            # In that folder there is no configuration of Locust's.
            subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                timeout=seconds + LAST_S + SPARE_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            output.write(b"\nit took too long\n")
    if not outcome.is_file():
        last = (said.read_text(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
        raise ServeError(f"Locust did not come to its end: {last[:TOLD]}", "see that it runs: python -m locust --version")
    return read_json(outcome)  # type: ignore[no-any-return]


def measure(users: int, outcome: dict[str, Any], plan: dict[str, Any], different: dict[str, dict[str, int]]) -> Level:
    """What a number of users got.

    Args:
        users: how many.
        outcome: what `locustfile.py` wrote.
        plan: what was to be answered.
        different: for each runtime and picture, decisions that differed until now; this level's are added.
    """
    times, answered = outcome["times_ms"], len(outcome["times_ms"])
    elapsed = outcome["ended_s"] - outcome["began_s"]
    failures, examples = sum(outcome["failures"].values()), outcome["examples"]
    if unfinished := outcome["asked"] - answered - outcome["refused"] - failures:
        failures += unfinished
        examples = [f"{unfinished} requests had no answer in the end", *examples]
    for runtime, found in outcome["different"].items():
        known = different.setdefault(runtime, {})
        known.update({name: max(count, known.get(name, 0)) for name, count in found.items()})
        allowed, there = plan["runtimes"][runtime], sum(known.values())
        if there > allowed:
            differing = sum(outcome["differing"][name] for name in found)
            failures, answered = failures + differing, answered - differing
            path = plan["pictures"][int(min(found, key=int))]["path"]
            reason = f"{there} decisions of {runtime} are not those that were evaluated, where {allowed} are allowed"
            examples = [f"{path}: {reason}", *examples]
    percentiles = np.percentile(times, [50, 95, 99]).round(3).tolist() if times else [None] * 3
    rate = round(answered / elapsed, 3) if answered else 0.0
    return Level(users, answered, rate, *percentiles, outcome["refused"], failures, examples[:EXAMPLES])
