"""The exported folder over HTTP: a server as a user would start it, and files as a user would send them."""

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from imagewright.engines import Engine
from imagewright.errors import GateError
from imagewright.index.readers import Reader
from imagewright.metrics.counts import Counts, count_samples, counted
from imagewright.tensors.dataset import TensorSplit

START_S = 120
STOP_S = 30
ANSWER_S = 120
TOLD = 400
SUM = 1e-3
"""How far the sum of a picture's probabilities may be from 1."""
# A test split may hold pictures that a public server would not take: how large they are is not what is judged here.
LIMITS = {"max_request_mb": 4000.0, "max_image_mb": 4000.0, "max_megapixels": 4000.0, "timeout_s": float(ANSWER_S)}


@dataclass(frozen=True)
class LiveComparison:
    """What came over HTTP beside what the same file answers in this process.

    Attributes:
        counts: a row a picture, of decisions; of masks, no confidences come over HTTP.
        probabilities: N × classes, as they came (classification; empty for masks).
        decisions: images, or pixels that count.
        flips: decisions that differ.
        max_abs_diff: largest difference of any probability; None for masks.
        p50_ms: median time of a request with one picture.
    """

    counts: Counts
    probabilities: NDArray[np.float32]
    decisions: int
    flips: int
    max_abs_diff: float | None
    p50_ms: float


@contextmanager
def live_server(exported: Path, runtime: str, threads: int) -> Iterator[str]:
    """Serve an exported folder on a free port of 127.0.0.1 until the block ends.

    Args:
        exported: what `export` wrote.
        runtime: which of its runtimes answers.
        threads: CPU threads of it.

    Yields:
        The server's address.

    Raises:
        GateError: it does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        address, config, said = (Path(folder) / name for name in ("address", "serve.yaml", "said"))
        config.write_text(yaml.safe_dump({**LIMITS, "threads": threads}))
        command = [
            sys.executable, "-m", "imagewright.cli", "serve", str(exported), "--ungated", "--runtime", runtime,
            "--port", "0", "--config", str(config), "--ready", str(address),
        ]  # fmt: skip
        # What a person has set for a server of their own, such as its keys, is not for this one.
        variables = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEWRIGHT_")}
        with said.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603
                command, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield _wait(process, address, said)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def compare_live(
    url: str, task: str, classes: Sequence[str], reader: Reader, paths: Sequence[str], test: TensorSplit, same: Engine
) -> LiveComparison:
    """Send every picture of the test split, one a request, and compare what comes back.

    Args:
        url: the server.
        task: "classification" or "segmentation".
        classes: in the order of the model's outputs.
        reader: gives a picture's bytes: the original file, or where a sample is no file, its pixels as a lossless PNG.
        paths: of the pictures, in the order of `test`.
        test: the split, with the pictures as the model is to see them.
        same: the runtime that is served, in this process.

    Raises:
        GateError: an answer is an error, or is none.
    """
    counts, kept, times = list[Counts](), list[NDArray[np.float32]](), list[float]()
    decisions, flips, furthest = 0, 0, 0.0
    with httpx.Client(base_url=url, timeout=ANSWER_S, trust_env=False) as client:
        for position, path in enumerate(tqdm(paths, desc="gate over HTTP", unit="img", disable=None)):
            content = reader.read(path)
            started = time.perf_counter()
            answer = _ask(client, task, content, path)
            times.append((time.perf_counter() - started) * 1000)
            expected = same(np.array(test.images[[position]]))
            target = np.asarray(test.targets[[position]])
            shown = counted(target)
            found = _probabilities(answer, task, classes, expected.shape, path)
            if task == "classification":
                kept.append(found)
                furthest = max(furthest, float(np.abs(found - expected).max()))
            counts.append(count_samples(found, target))
            decisions += int(shown.sum())
            flips += int(((found.argmax(-1) != expected.argmax(-1)) & shown).sum())
    return LiveComparison(
        counts=Counts.concatenate(counts),
        probabilities=np.concatenate(kept) if kept else np.empty((0, 0), np.float32),
        decisions=decisions,
        flips=flips,
        max_abs_diff=furthest if kept else None,
        p50_ms=median(times),
    )


def _wait(process: "subprocess.Popen[bytes]", address: Path, said: Path) -> str:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        if address.is_file():
            url = address.read_text()
            try:
                if httpx.get(f"{url}/health", timeout=1, trust_env=False).status_code == httpx.codes.OK:
                    return url
            except httpx.TransportError:
                pass
        time.sleep(0.05)
    lines = said.read_text(errors="replace").strip().splitlines() or ["it says nothing"]
    told = next((line for line in lines if line.startswith("error: ")), lines[-1])
    raise GateError(
        f"the server does not start: {told[:TOLD]}",
        "start it by hand to see why: imagewright serve results/export/<experiment> --ungated",
    )


def _ask(client: httpx.Client, task: str, content: bytes, path: str) -> httpx.Response:
    asked = {"as": "png"} if task == "segmentation" else {}
    try:
        answer = client.post("/predict", params=asked, files={"file": (Path(path).name, content)})
    except httpx.HTTPError as error:
        raise GateError(f"the server gave no answer to {path}: {error!r}", "see that it runs at all") from error
    if answer.status_code != httpx.codes.OK:
        raise GateError(
            f"the server answered {path} with {answer.status_code}: {answer.text[:TOLD]}",
            "every picture of the test split has to get an answer",
        )
    return answer


def _probabilities(
    answer: httpx.Response, task: str, classes: Sequence[str], shape: tuple[int, ...], path: str
) -> NDArray[np.float32]:
    """What an answer says, in the form in which a runtime says it; a mask becomes ones and zeros."""
    try:
        if task == "classification":
            given = answer.json()["predictions"][0]["probabilities"]
            found = np.array([[given[name] for name in classes]], np.float32)
        else:
            with Image.open(io.BytesIO(answer.content)) as picture:
                found = np.eye(len(classes), dtype=np.float32)[np.asarray(picture)][np.newaxis]
    except Exception as error:  # a stub may answer anything
        raise GateError(
            f"the server's answer to {path} is no prediction: {answer.text[:TOLD]!r}", "see what /predict answers"
        ) from error
    if found.shape != shape:
        raise GateError(f"the server's answer to {path} has the shape {found.shape}, not {shape}", "see what it serves")
    if not (np.all(found >= 0) and np.all(np.abs(found.sum(axis=-1) - 1) < SUM)):
        raise GateError(
            f"the server's answer to {path} holds no probabilities: from {found.min():.3g} to {found.max():.3g}, "
            f"with a sum of {found.sum():.3g}",
            "serve what the exported graph gives, unchanged",
        )
    return found
