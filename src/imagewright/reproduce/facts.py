"""What a folder of results says of one experiment, stage by stage: hashes and numbers that a second run has to meet.

Times, latencies and what follows from them are no facts in this sense: they never come out twice the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from imagewright.config.bundle import BundleSection
from imagewright.errors import BrokenFileError, ReproduceError, first_line
from imagewright.files import read_json, sha256

StageFacts = dict[str, Any]
"""A value by its name; or, where there are many of a kind, values by their own names."""


@dataclass(frozen=True)
class Facts:
    """What one build of an experiment came to.

    Attributes:
        section: the experiment's names.
        stages: facts of the stages that were built, in the workflow's order.
        environments: of each trial, what bits may depend on besides code, config and data.
        runtime: the one that answers by default.
    """

    section: BundleSection
    stages: dict[str, StageFacts]
    environments: dict[str, dict[str, Any]]
    runtime: str | None


def read_recorded(results: Path, experiment: str) -> Facts:
    """Read the facts of what is recorded, all of them.

    Args:
        results: the folder `results/`.
        experiment: a name in `results/bundle/`.

    Raises:
        ReproduceError: a file is missing or cannot be read.
    """
    known = sorted(path.parent.name for path in results.glob("bundle/*/bundle.json"))
    if experiment not in known:
        raise ReproduceError(
            f"{results / 'bundle' / experiment / 'bundle.json'}: there is no such file, so nothing is recorded to "
            "compare with",
            "bring it back with imagewright pull, or build it with snakemake"
            + (f"; recorded here: {', '.join(known)}" if known else ""),
        )
    stage = "bundle"
    try:
        bundle = read_json(results / "bundle" / experiment / "bundle.json")
        stage = "select"
        selection = read_json(results / "select" / experiment / "selection.json")
        section = BundleSection(
            experiment=experiment,
            data=bundle["data"],
            tensors=bundle["tensors"],
            trials=[trial["trial"] for trial in selection["trials"]],
            overrides=bundle["overrides"],
        )
        stages = {}
        for stage, read in READERS.items():
            stages[stage] = read(section, results)
        return Facts(section, stages, _environments(section, results), bundle["default_runtime"])
    except FileNotFoundError as error:
        problem = f"{error.filename}: there is no such file, so there is not all to compare with"
    except (OSError, BrokenFileError, ValueError, KeyError, TypeError) as error:
        problem = f"{results / stage}: what is recorded of {experiment} cannot be read: {first_line(error)}"
    raise ReproduceError(problem, "bring it back with imagewright pull, or build it again with snakemake")


def read_rebuilt(section: BundleSection, results: Path) -> Facts:
    """Read the facts of a build that may have stopped on its way: stages that are not there have none.

    Args:
        section: the experiment's names.
        results: the folder `results/` that it was built in.
    """
    stages: dict[str, StageFacts] = {}
    for stage, read in READERS.items():
        try:
            stages[stage] = read(section, results)
        except FileNotFoundError:
            break
    bundle = results / "bundle" / section.experiment / "bundle.json"
    runtime = read_json(bundle)["default_runtime"] if "bundle" in stages else None
    return Facts(section, stages, _environments(section, results) if "train" in stages else {}, runtime)


def _index(section: BundleSection, results: Path) -> StageFacts:
    rows = pd.read_parquet(results / "index" / section.data / "index.parquet")
    return {"data": _by_id(rows, ["sha256", "label", "mask_sha256"]), "split": _by_id(rows, ["split"])}


def _tensors(section: BundleSection, results: Path) -> StageFacts:
    meta = read_json(results / "tensors" / section.tensors / "meta.json")
    return {"split": {name: split["sha256"] for name, split in meta.pop("splits").items()}, **meta}


def _train(section: BundleSection, results: Path) -> StageFacts:
    facts = {}
    for trial in section.trials:
        folder = results / "train" / section.experiment / trial
        record = read_json(folder / "trial.json")
        facts[f"trial {trial}"] = {
            "weights": sha256(folder / "model.safetensors"),
            "history": sha256(folder / "history.csv"),
            # What took part in the training; where the weights differ, it may say why.
            **{f"effective.{name}": value for name, value in record["effective"].items()},
        }
    return facts


def _select(section: BundleSection, results: Path) -> StageFacts:
    folder = results / "select" / section.experiment
    selection = read_json(folder / "selection.json")
    chosen = {name: selection[name] for name in ("trial", "value", "temperature")}
    return {**chosen, "weights": sha256(folder / "model.safetensors")}


def _evaluate(section: BundleSection, results: Path) -> StageFacts:
    folder = results / "evaluate" / section.experiment
    predictions = pd.read_parquet(folder / "predictions.parquet")
    columns = [name for name in predictions.columns if name != "id"]
    return {"metrics": read_json(folder / "metrics.json"), "predictions": _by_id(predictions, columns)}


def _export(section: BundleSection, results: Path) -> StageFacts:
    return dict(read_json(results / "export" / section.experiment / "export.json")["sha256"])


def _gate(section: BundleSection, results: Path) -> StageFacts:
    gate = read_json(results / "gate" / section.experiment / "gate.json")
    runtimes = {
        name: {"passed": entry["passed"], "flips": entry["flips"], "decisions": entry["decisions"]}
        | entry.get("metrics", {})
        for name, entry in gate["runtimes"].items()
    }
    return {"passed": gate["passed"], **runtimes}


def _bundle(section: BundleSection, results: Path) -> StageFacts:
    return dict(read_json(results / "bundle" / section.experiment / "bundle.json")["fingerprints"])


def _by_id(rows: pd.DataFrame, columns: list[str]) -> dict[str, int]:
    """One hash a row, by the image's name."""
    hashes = pd.util.hash_pandas_object(rows[columns], index=False)
    return dict(zip(rows["id"], hashes.tolist(), strict=True))


READERS: dict[str, Callable[[BundleSection, Path], StageFacts]] = {
    "index": _index,
    "tensors": _tensors,
    "train": _train,
    "select": _select,
    "evaluate": _evaluate,
    "export": _export,
    "gate": _gate,
    "bundle": _bundle,
}
"""In the workflow's order: what is wrong with one stage is wrong with those that follow."""


def _environments(section: BundleSection, results: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for trial in section.trials:
        environment = read_json(results / "train" / section.experiment / trial / "trial.json")["environment"]
        found[trial] = {**environment, **environment["packages"]}
        del found[trial]["packages"]
    return found
