"""The model that is served: its files, checked, and its answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagewright.config.tensors import InputConfig
from imagewright.engines import open_engine
from imagewright.errors import BrokenFileError, ServeError
from imagewright.files import read_json, sha256

UNGATED = "ungated"


@dataclass(frozen=True)
class Served:
    """A bundle, or an exported folder that was never judged.

    Attributes:
        id: of the bundle; "ungated" and the hash of `export.json` where there is none.
        runtime: the name of the runtime that answers.
        file: its ONNX file.
        task: "classification" or "segmentation".
        classes: keys, in the order of the model's outputs.
        names: what to show for each class.
        input: the form that pictures are brought into.
        max_pixels: of a picture, before it is decoded.
        about: what `/metadata` says beside the rest.
    """

    id: str
    runtime: str
    file: Path
    task: str
    classes: list[str]
    names: list[str]
    input: InputConfig
    max_pixels: int
    about: dict[str, Any]


def open_served(folder: Path, runtime: str | None = None, ungated: bool = False) -> Served:
    """Read a folder and check every file of it that has a recorded hash, whichever runtime is to answer.

    Args:
        folder: a bundle; or what `export` wrote, with `ungated`.
        runtime: "onnx", "int8" or "openvino"; by default the one that the gate found best.
        ungated: serve without a passed verdict.

    Raises:
        ServeError: no folder, half a folder, a changed file, no verdict, or no such runtime.
    """
    if not folder.is_dir():
        raise ServeError(f"{folder}: there is no such folder", "name a folder in results/bundle/")
    gated = (folder / "bundle.json").is_file()
    if not gated and not ungated:
        raise ServeError(
            f"{folder}: there is no bundle.json, so no gate has judged this model",
            "serve a folder of results/bundle/, or say --ungated to serve it all the same",
        )
    bundle = _read(folder / "bundle.json", "id", "files", "runtimes") if gated else {}
    hashes = bundle["files"] if gated else _read(folder / "export.json", "sha256")["sha256"]
    if not isinstance(hashes, dict):
        raise ServeError(f"{folder}: it lists no files", "bring the whole folder again")
    for name, expected in hashes.items():
        _check(folder, name, expected)
    export = _read(folder / "export.json", "task", "classes", "names", "input", "runtimes")
    form = export["input"]
    files = bundle["runtimes"] if gated else export["runtimes"]
    chosen = runtime or bundle.get("default_runtime") or "onnx"
    if chosen not in files:
        raise ServeError(f"{folder}: there is no runtime {chosen!r}", f"take one of: {', '.join(sorted(files))}")
    # export.json has the hashes of an exported folder, so only a bundle has its own.
    used = [files[chosen], *(["export.json", "gate.json"] if gated else [])]
    for name in used:
        if name not in hashes:
            raise ServeError(f"{folder / name}: no hash of it was recorded", "bring the whole folder again")
    if gated and not ungated and not _read(folder / "gate.json")["passed"]:
        raise ServeError(f"{folder}: the gate said no", "its reasons are in gate.json; or say --ungated")
    # A model from before there was a depth has none.
    shape = {name: form[name] for name in InputConfig.model_fields if name in form}
    return Served(
        id=bundle["id"] if gated else f"{UNGATED}-{sha256(folder / 'export.json')[:12]}",
        runtime=chosen,
        file=folder / files[chosen],
        task=export["task"],
        classes=export["classes"],
        names=[export["names"].get(key, key) for key in export["classes"]],
        input=InputConfig(**shape),
        max_pixels=form["max_pixels"],
        about={name: bundle.get(name) for name in ("experiment", "metrics", "primary_metric", "baseline", "n")},
    )


class Model:
    """What answers.

    Args:
        served: what to run.
        threads: CPU threads of a step.

    Raises:
        ConfigError: the runtime is not installed, or does not take the file.
    """

    def __init__(self, served: Served, threads: int) -> None:
        self._engine = open_engine(served.file, served.runtime, threads)

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities.

        Args:
            images: N × height × width × channels, uint8.

        Returns:
            N × classes (classification) or N × height × width × classes, float32.
        """
        return self._engine(images)


def _read(path: Path, *keys: str) -> Any:
    try:
        found = read_json(path)
    except BrokenFileError as error:
        raise ServeError(error.problem, "bring the whole folder again") from error
    except OSError as error:
        raise ServeError(f"{path}: it cannot be read ({error})", "bring the whole folder again") from error
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise ServeError(f"{path}: it has no {key!r}", "bring the whole folder again")
    return found


def _check(folder: Path, name: str, expected: str) -> None:
    if Path(name).name != name:
        raise ServeError(f"{folder}: it names {name!r}, which is no file of it", "do not trust it")
    path = folder / name
    if not path.is_file():
        raise ServeError(f"{path}: it is missing", "bring the whole folder again")
    if sha256(path) != expected:
        raise ServeError(f"{path}: it is not the file that was judged", "bring the whole folder again")
