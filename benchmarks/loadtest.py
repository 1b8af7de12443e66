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
from contextlib import contextmanager, nullcontext, suppress
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
COLUMNS = ("users", "requests_a_second", "p50_ms", "p95_ms", "p99_ms", "refused", "failures")


def prepare(experiment: str, folder: Path) -> dict[str, Any]:
    """Write the pictures of the test split and `plan.json`, which says what is to be answered; gives the plan."""
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
    labels, pictures = bundle["task"] == "classification", []
    # Of a class that is ignored, nothing was evaluated.
    columns = {key: f"predicted/{key}" for key in bundle["classes"] if f"predicted/{key}" in evaluated}
    taken = np.linspace(0, len(rows) - 1, min(len(rows), MOST_PICTURES)).round().astype(int)
    for position, row in enumerate(rows.iloc[taken].itertuples()):
        # Two folders may have files of the same name, and the server tells the name.
        name, told = str(position), evaluated.loc[row.id]
        (folder / name).write_bytes(reader.read(row.path))
        expected = told["predicted"] if labels else {key: int(told[column]) for key, column in columns.items()}
        pictures.append({"name": name, "path": row.path, "expected": expected})
    # How many decisions may differ from those of PyTorch, which were evaluated.
    judged = {name: gate["runtimes"][name] for name in bundle["runtimes"]}
    ties = {name: 0 if labels else int(TIES * found["decisions"]) for name, found in judged.items()}
    plan = {
        **{name: bundle[name] for name in ("id", "task", "classes")},
        "size": [bundle["input"]["height"], bundle["input"]["width"]],
        "runtimes": {name: found["flips"] + ties[name] for name, found in judged.items()},
        "pictures": pictures,
    }
    write_json(folder / "plan.json", plan)
    return plan


@contextmanager
def served(experiment: str, folder: Path, log: Path) -> Iterator[str]:
    """Serve the bundle as a user would, on a free port of 127.0.0.1, until the block ends; gives the address."""
    ready = folder / "address"
    command = [sys.executable, "-m", "imagewright.cli", "serve", f"results/bundle/{experiment}", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--ready", str(ready)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield _wait(process, ready, log)
    except BaseException:
        _stop(process)
        raise
    if status := _stop(process):
        raise ServeError(f"the server was told to stop and ended with {status} instead of 0", f"see {log}")


def attack(url: str, users: int, seconds: int, folder: Path) -> dict[str, Any]:
    """Let users ask for some time, in a process of their own, and give what `locustfile.py` writes in the end."""
    said, outcome = folder / "said", folder / "outcome.json"
    outcome.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--host", url, "--headless", "--only-summary",
        "--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s", "--stop-timeout", str(LAST_S),
    ]  # fmt: skip
    environment = os.environ | {"IMAGEWRIGHT_LOADTEST": str(folder)}
    with said.open("wb") as output, suppress(subprocess.TimeoutExpired):
        # In that folder, there is no configuration that Locust would read.
        subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            timeout=seconds + LAST_S + SPARE_S, check=False,
        )  # fmt: skip
    if not outcome.is_file():
        last = (said.read_text(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
        raise ServeError(
            f"Locust did not come to its end: {last[:TOLD]}", "see that it runs: python -m locust --version"
        )
    return read_json(outcome)  # type: ignore[no-any-return]


def measure(users: int, outcome: dict[str, Any], plan: dict[str, Any], different: dict[str, dict[str, int]]) -> Any:
    """A level of the report: what so many users got.

    Args:
        users: how many.
        outcome: what `locustfile.py` wrote.
        plan: what was to be answered.
        different: for each runtime and picture, the most decisions that ever differed; this level's are added.
    """
    times, refused, examples = outcome["times_ms"], outcome["refused"], outcome["examples"]
    answered, failures = len(times), sum(outcome["failures"].values())
    if unfinished := outcome["asked"] - answered - refused - failures:
        failures += unfinished
        examples = [*examples, f"{unfinished} requests had no answer in the end"]
    for runtime, found in outcome["different"].items():
        known, allowed = different.setdefault(runtime, {}), plan["runtimes"][runtime]
        known.update({name: max(count, known.get(name, 0)) for name, count in found.items()})
        if (there := sum(known.values())) > allowed:
            wrong = sum(outcome["differing"][name] for name in found)
            failures, answered = failures + wrong, answered - wrong
            paths = ", ".join(plan["pictures"][number]["path"] for number in sorted(map(int, found))[:EXAMPLES])
            reason = f"{there} decisions of {runtime} are not those that were evaluated, and {allowed} may differ"
            examples = [*examples, f"{paths}: {reason}"]
    rate = answered / (outcome["ended_s"] - outcome["began_s"]) if answered else 0.0
    percentiles = np.percentile(times, [50, 95, 99]).round(2).tolist() if times else [None] * 3
    numbers = (users, round(rate, 1), *percentiles, refused, failures)
    return dict(zip(COLUMNS, numbers, strict=True)) | {"answered": answered, "examples": examples[:EXAMPLES]}


def load_test(experiment: str, url: str | None, users: list[int], seconds: int, out: Path) -> None:
    """Run all levels, but none after one without any answer; write `<experiment>.md` and `<experiment>.json`.

    Raises:
        ServeError: the server does not start or end as it should, or an answer was not right, or there was none.
        EvidenceError: the pictures are not those that were evaluated.
    """
    out.mkdir(parents=True, exist_ok=True)
    log, told = out / f"{experiment}.server.log", out / f"{experiment}.json"
    with tempfile.TemporaryDirectory(prefix="imagewright-") as name:
        folder = Path(name)
        try:
            plan = prepare(experiment, folder)
        except OSError as error:
            raise ServeError(first_line(error), "run it in a project's folder where the experiment is built") from error
        with nullcontext(url.rstrip("/")) if url else served(experiment, folder, log) as address:
            levels, different = list[dict[str, Any]](), dict[str, dict[str, int]]()
            for count in tqdm(users, desc="load test", unit="level", disable=None):
                levels.append(measure(count, attack(address, count, seconds, folder), plan, different))
                tqdm.write(", ".join(f"{name.replace('_', ' ')} {levels[-1][name]}" for name in COLUMNS))
                if not levels[-1]["answered"]:
                    break
            decisions = {runtime: sum(found.values()) for runtime, found in different.items()}
            about = {"bundle": plan["id"], "pictures": len(plan["pictures"]), "seconds": seconds}
            report = about | {"machine": this_machine(), "different_decisions": decisions, "levels": levels}
            write_json(told, report)
            write_text_if_changed(told.with_suffix(".md"), table(experiment, report))
            print(table(experiment, report))
            # Before the server ends, of which something might be said, too.
            judge(levels, address, f"see {told}" if url else f"see {told} and {log}")


def table(experiment: str, report: dict[str, Any]) -> str:
    """The report in Markdown."""
    header = [name.replace("_", " ") for name in COLUMNS]
    rows = [["–" if level[name] is None else str(level[name]) for name in COLUMNS] for level in report["levels"]]
    return (
        f"# Load test of {experiment}\n\n`python benchmarks/loadtest.py --experiment {experiment}`: bundle "
        f"{report['bundle']}, {report['pictures']} pictures of the test split in turn, one a request, "
        f"{report['seconds']} s for each number of users, asked from a machine with {report['machine']['cores']} cores "
        f"({report['machine']['cpu']}). Every answer was checked.\n\n"
        f"| {' | '.join(header)} |\n{'|---:' * len(header)}|\n"
    ) + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def judge(levels: list[dict[str, Any]], url: str, remedy: str) -> None:
    """Stop where a level had a failure, or no answer at all."""
    if failures := sum(level["failures"] for level in levels):
        shown = list(dict.fromkeys(example for level in levels for example in level["examples"]))[:EXAMPLES]
        raise ServeError(f"{failures} requests to {url} got no right answer: {'; '.join(shown)}", remedy)
    if not levels[-1]["answered"]:
        refused = f"it refused all {levels[-1]['refused']} requests"
        raise ServeError(f"{url} answered none of {levels[-1]['users']} users: {refused}", remedy)


def _wait(process: "subprocess.Popen[bytes]", ready: Path, log: Path) -> str:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        with suppress(FileNotFoundError, httpx.TransportError):
            url = ready.read_text()
            if httpx.get(f"{url}/health", timeout=1, trust_env=False).status_code == httpx.codes.OK:
                return url
        time.sleep(0.05)
    lines = log.read_text(errors="replace").strip().splitlines() or ["it says nothing"]
    told = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1])
    raise ServeError(f"the server does not start: {told[:TOLD]}", f"see {log}")


def _stop(process: "subprocess.Popen[bytes]") -> int:
    process.terminate()
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main() -> None:
    """Read the command line; what a person can put right is told in two lines, with the exit status 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", required=True, help="Built in this folder: results/bundle/<experiment>.")
    parser.add_argument("--url", help="A server that runs already; without it, one is started and stopped.")
    parser.add_argument("--users", nargs="+", type=int, default=list(USERS), help="How many ask at the same time.")
    parser.add_argument("--seconds", type=int, default=10, help="Time for each number of users.")
    parser.add_argument("--out", type=Path, default=Path("logs/loadtest"), help="The folder for the report.")
    given = parser.parse_args()
    if min(*given.users, given.seconds) < 1:
        parser.error("--users and --seconds are numbers from 1")
    # Where this is told to end, the server is stopped, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        load_test(given.experiment, given.url, given.users, given.seconds, given.out)
    except ImagewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
