"""How much of what the runtime can do alone arrives over HTTP, beside LitServe and BentoML with the same file.

Run: python benchmarks/serve.py
"""

import asyncio
import csv
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Annotated

import aiohttp
import httpx
import numpy as np
import typer
from exported import export_classifier, photographs
from rounds import MEASUREMENTS, ratio

from imagewright.bundle.hardware import this_machine
from imagewright.config.tensors import InputConfig
from imagewright.imaging import load_image
from imagewright.serve.model import Model, open_served

HERE = Path(__file__).parent
LIMIT, OURS, ALONE = "in-process", "imagewright", "imagewright, one by one"
RIVALS = {"LitServe": "litserve==0.2.19", "BentoML": "bentoml==1.4.39"}
CONTENDERS = (OURS, ALONE, *RIVALS)
MAX_BATCH, CLASSES, PICTURES = 8, 10, 32
SERVER_CORE, CLIENT_CORE = 1, 0
START_S, STOP_S, ANSWER_S, WARM_S = 60, 20, 30, 0.5
TOLD = 300
AGREE = 1e-3
"""How much a probability may differ from the runtime's own, since batches differ."""


@dataclass(frozen=True)
class Turn:
    """What one contender did with a model in one round, with so many users at once."""

    model: str
    contender: str
    users: int
    number: int
    requests_a_second: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Picture:
    """A request, and the answer of the same file without HTTP."""

    body: bytes
    headers: Mapping[str, str]
    label: str
    confidence: float


def environment(name: str, folder: Path) -> Path:
    """An environment of its own for a rival, with what our server needs to decode pictures, and its Python."""
    python = folder / name / "bin/python"
    if not python.exists():
        print(f"Installing {RIVALS[name]}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", RIVALS[name], f"{HERE.parent}[serve]"], check=True)
    return python


def command(contender: str, folder: Path, runtime: str, port: int, pythons: Mapping[str, Path]) -> list[str]:
    """What starts a contender, with one thread for the runtime."""
    exported = str(folder / "exported")
    if contender == "LitServe":
        return [str(pythons[contender]), str(HERE / "serve_litserve.py"), exported, runtime, str(port), str(MAX_BATCH)]
    if contender == "BentoML":
        started = [str(pythons[contender].with_name("bentoml")), "serve", "serve_bentoml:Classifier"]
        return [*started, "--working-dir", str(HERE), "--host", "127.0.0.1", "--port", str(port)]
    config = folder / f"{contender}.yaml"
    config.write_text(f"threads: 1\nworkers: 1\nmax_batch: {1 if contender == ALONE else MAX_BATCH}\n")
    limits = ["--config", str(config), "--port", str(port)]
    return ["imagewright", "serve", exported, "--ungated", "--runtime", runtime, *limits]


@dataclass(frozen=True)
class Running:
    """A server that was started, and sleeps while it is the turn of others."""

    url: str
    process: "subprocess.Popen[bytes]"

    @contextmanager
    def awake(self) -> Iterator[str]:
        """Let it run; gives the address to ask."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield self.url
        finally:
            os.killpg(self.process.pid, signal.SIGSTOP)


@contextmanager
def served(contender: str, folder: Path, runtime: str, pythons: Mapping[str, Path]) -> Iterator[Running]:
    """A server on its own core, once it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # BentoML takes no arguments of ours.
    variables = {"EXPORTED": str(folder / "exported"), "RUNTIME": runtime, "BENTOML_DO_NOT_TRACK": "True"}
    printed = folder / f"{contender}.log"
    with printed.open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command(contender, folder, runtime, port, pythons)],
            env=os.environ | variables, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < end:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=ANSWER_S).status_code < 500:
                    break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{contender} does not start: {printed.read_text()[-2000:]}")
        os.killpg(process.pid, signal.SIGSTOP)
        yield Running(f"http://127.0.0.1:{port}/predict", process)
    finally:
        # A server that sleeps would not hear that it is to end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
        # LitServe and BentoML have more processes than one.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)


async def ask(url: str, pictures: list[Picture], users: int, seconds: float) -> tuple[float, list[float]]:
    """Users who each send the next picture when they have an answer: requests a second, and the seconds of each."""
    times: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            while time.perf_counter() < end:
                picture = pictures[number % len(pictures)]
                number += 1
                started = time.perf_counter()
                async with session.post(url, data=picture.body, headers=picture.headers) as answer:
                    if answer.status != 200:
                        raise SystemExit(f"{url} says {answer.status}: {(await answer.text())[:TOLD]}")
                    said = await answer.json()
                times.append(time.perf_counter() - started)
                said = said.get("predictions", [said])[0]
                if said["label"] != picture.label or abs(said["confidence"] - picture.confidence) > AGREE:
                    raise SystemExit(f"{url} says {said} instead of {picture.label}, {picture.confidence}")

        started = time.perf_counter()
        end = started + seconds
        await asyncio.gather(*(one(number) for number in range(users)))
        return len(times) / (time.perf_counter() - started), times


def in_process(folder: Path, runtime: str) -> Callable[[float], list[float]]:
    """What decodes and answers pictures one after another for so many seconds, on the server's core.

    It gives the seconds of each.
    """
    about = open_served(folder / "exported", runtime, ungated=True)
    model = Model(about, threads=1)
    contents = [path.read_bytes() for path in sorted((folder / "pictures").iterdir())]

    def turn(seconds: float) -> list[float]:
        os.sched_setaffinity(0, {SERVER_CORE})
        times: list[float] = []
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            model.answer(load_image(contents[len(times) % len(contents)], about.input)[np.newaxis])
            times.append(time.perf_counter() - started)
        os.sched_setaffinity(0, {CLIENT_CORE})
        return times

    return turn


def requests(folder: Path, runtime: str) -> list[Picture]:
    """A request for each picture, and what the runtime says of it."""
    about = open_served(folder / "exported", runtime, ungated=True)
    model, found = Model(about, threads=1), []
    for path in sorted((folder / "pictures").iterdir()):
        request = httpx.Request("POST", "http://server", files={"file": (path.name, path.read_bytes(), "image/jpeg")})
        said = model.answer(load_image(path.read_bytes(), about.input)[np.newaxis])[0]
        headers = {"Content-Type": request.headers["content-type"]}
        found.append(Picture(request.read(), headers, about.classes[said.argmax()], float(said.max())))
    return found


def turns(
    name: str, folder: Path, runtime: str, users: list[int], rounds: int, seconds: float, pythons: Mapping[str, Path]
) -> Iterator[Turn]:
    """Let everyone have a turn in each round, in another order each time."""
    pictures, limit = requests(folder, runtime), in_process(folder, runtime)
    with ExitStack() as stack:
        servers = {one: stack.enter_context(served(one, folder, runtime, pythons)) for one in CONTENDERS}
        for number in range(1, rounds + 1):
            limit(WARM_S)
            times = limit(seconds)
            yield Turn(name, LIMIT, 1, number, len(times) / sum(times), *np.percentile(times, [50, 99]) * 1000)
            for contender in CONTENDERS[number % len(CONTENDERS) :] + CONTENDERS[: number % len(CONTENDERS)]:
                for many in users:
                    with servers[contender].awake() as url:
                        asyncio.run(ask(url, pictures, many, WARM_S))
                        a_second, times = asyncio.run(ask(url, pictures, many, seconds))
                    yield Turn(name, contender, many, number, a_second, *np.percentile(times, [50, 99]) * 1000)


def table(found: list[Turn], model: str, users: list[int]) -> list[str]:
    """A line for each contender and number of users, with what we have in comparison."""

    def values(contender: str, many: int, value: Callable[[Turn], float]) -> list[float]:
        return [value(turn) for turn in found if (turn.model, turn.contender, turn.users) == (model, contender, many)]

    def rate(turn: Turn) -> float:
        return turn.requests_a_second

    lines = ["| | users | requests/s | p50 ms | p99 ms | imagewright: requests/s | imagewright: p99 |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    limit = values(LIMIT, 1, rate)
    for contender, many in [(LIMIT, 1), *((contender, many) for many in users for contender in CONTENDERS)]:
        own = [median(values(contender, many, value)) for value in (rate, lambda t: t.p50_ms, lambda t: t.p99_ms)]
        if contender == LIMIT:
            compared = [f"{ratio(values(OURS, max(users), rate), limit)} with {max(users)} users", ""]
        elif contender == OURS:
            compared = ["", ""]
        else:
            compared = [
                ratio(values(OURS, many, value), values(contender, many, value)) for value in (rate, lambda t: t.p99_ms)
            ]
        shown = [f"{own[0]:.0f}", f"{own[1]:.1f}", f"{own[2]:.1f}"]
        lines.append(f"| {' | '.join([contender, str(many) if contender != LIMIT else '', *shown, *compared])} |")
    return lines


def main(
    rounds: Annotated[int, typer.Option(help="Each contender has its turn in each of them.", min=2)] = 20,
    seconds: Annotated[float, typer.Option(help="Of a turn with so many users.")] = 2.0,
    users: Annotated[list[int], typer.Option(help="How many ask at once; several times for several.")] = [1, 8],  # noqa: B006
    runtime: Annotated[str, typer.Option(help="onnx or int8.")] = "int8",
    environments: Annotated[Path, typer.Option(help="Where the rivals are installed, once.")] = Path(
        ".cache/benchmarks"
    ),
) -> None:
    """Serve a small and a larger model in turn, one core for the server and another one for who asks."""
    pythons = {name: environment(name, environments.absolute()) for name in RIVALS}
    os.sched_setaffinity(0, {CLIENT_CORE})
    found: list[Turn] = []
    models = {"resnet10t at 64": ("resnet10t", 64), "resnet18 at 224": ("resnet18", 224)}
    with tempfile.TemporaryDirectory() as temporary:
        for label, (model, side) in models.items():
            folder = Path(temporary) / model
            (folder / "pictures").mkdir(parents=True)
            form = InputConfig(height=side, width=side, colour="rgb", fit="crop")
            for number, content in enumerate(photographs(PICTURES)):
                (folder / f"pictures/{number:02d}.jpg").write_bytes(content)
            images = np.stack([load_image(path.read_bytes(), form) for path in sorted((folder / "pictures").iterdir())])
            export_classifier(model, side, CLASSES, images, folder)
            for turn in turns(label, folder, runtime, users, rounds, seconds, pythons):
                found.append(turn)
                print(
                    f"{turn.model}, round {turn.number}/{rounds}: {turn.contender}, {turn.users} users: "
                    f"{turn.requests_a_second:.0f}/s, p50 {turn.p50_ms:.1f} ms, p99 {turn.p99_ms:.1f} ms", flush=True,
                )  # fmt: skip
    write(found, list(models), users, rounds, seconds, runtime)


def write(found: list[Turn], models: list[str], users: list[int], rounds: int, seconds: float, runtime: str) -> None:
    """Write `docs/measurements/serve.{csv,md}`."""
    with (MEASUREMENTS / "serve.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Turn)])
        writer.writerows(
            [value if not isinstance(value, float) else f"{value:.3f}" for value in astuple(turn)] for turn in found
        )
    machine = this_machine()
    told = (
        f"`python benchmarks/serve.py`: {rounds} rounds of {seconds:g} s in turn on {machine['cores']} cores "
        f"({machine['cpu']}), all servers with the same {runtime} file, the same decoder and one thread on one core; "
        "who asks is on another one. All of them are started at once, and sleep (SIGSTOP) in the turns of others, "
        "so that turns follow each other closely. The pictures are JPEG files of 320 × 240. "
        f"{' and '.join(RIVALS.values())}. The last columns are what `imagewright serve` has in comparison, with 95 % "
        f"intervals over the rounds: more requests and less time are better. `{LIMIT}` decodes and answers one picture "
        "after another without a server; "
        f"`{ALONE}` has `max_batch: 1`."
    )
    lines = ["# Over HTTP", "", told]
    for model in models:
        lines += ["", f"## {model}", "", *table(found, model, users)]
    (MEASUREMENTS / "serve.md").write_text("\n".join([*lines, "", "All turns: [serve.csv](serve.csv).", ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
