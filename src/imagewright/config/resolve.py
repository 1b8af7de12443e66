"""Compose every experiment once and write each stage's own section, only where its content changed.

The Snakefile, `scripts/resolve.py` (DVC's first stage) and the tests call the same function, `resolve`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagewright.config.code import code_fingerprint
from imagewright.config.listing import listing
from imagewright.errors import ConfigError
from imagewright.files import write_json, write_text_if_changed

if TYPE_CHECKING:
    from imagewright.config.train import TrainSection

STAGES = ("fetch", "index", "tensors", "train", "select", "evaluate", "export", "gate", "bundle", "report")
# A script called select.py would hide Python's own module `select` from every script beside it.
SCRIPTS = {stage: f"scripts/{stage}.py" for stage in STAGES} | {"select": "scripts/select_.py"}
LEVELS = {"fetch": "data", "raw": "data", "index": "data", "tensors": "tensors"}
"""What a stage is run for, where that is not an experiment; `raw` are the listings of raw data."""
KNOWN = ".snakemake/imagewright/raw"


UNFINISHED = ".snakemake/imagewright/pull.unfinished"
"""There while `imagewright pull` is at work: half of the results may be those of another commit."""


@dataclass(frozen=True)
class Plan:
    """What the workflow is to build, in names alone."""

    experiments: Mapping[str, Mapping[str, Any]]
    tensors: Mapping[str, str]
    folders: Mapping[str, str]

    @property
    def data(self) -> list[str]:
        """The data configs in use."""
        return sorted(set(self.tensors.values()))


def resolve(root: Path, experiments: Sequence[str] | None = None, overrides: Sequence[str] = ()) -> Plan:
    """Compose the experiments, write sections and code fingerprints to `results/resolve/`, and name what to build.

    Args:
        root: the project's folder.
        experiments: names of files in `config/experiment/`; by default those that `config/workflow.yaml` lists.
        overrides: Hydra overrides for all of them; each then builds under a name of its own.

    Raises:
        ConfigError: a name, a key or a value is wrong.
    """
    composed = _composed(root, experiments, list(overrides))
    for name, text in composed["sections"].items():
        write_text_if_changed(root / "results/resolve" / name, text)
    for stage in STAGES:
        fingerprint = code_fingerprint(root / SCRIPTS[stage], root / "src")
        write_json(root / "results/resolve/code" / f"{stage}.json", fingerprint)
    # DVC wants its folders to be there, also where nothing is in them.
    raw = root / "results/resolve/raw"
    for folder in (raw, *(root / "results/benchmark" / stage for stage in STAGES)):
        folder.mkdir(parents=True, exist_ok=True)
    for data, folder in composed["folders"].items():
        # A clone may have the results without the images; that does not make the results old.
        if (root / folder).is_dir() or not (raw / f"{data}.txt").is_file():
            write_text_if_changed(raw / f"{data}.txt", listing(root / folder, root / KNOWN / f"{data}.json"))
    return Plan(composed["experiments"], composed["tensors"], composed["folders"])


def check_pulled(root: Path) -> None:
    """Refuse to plan on results of which only a part has been pulled.

    Raises:
        ConfigError: a pull is at work, or was killed.
    """
    if (root / UNFINISHED).exists():
        raise ConfigError(
            f"{root.absolute()}: a pull is at work or was killed, so the results may be of two commits",
            "run it to its end: imagewright pull",
        )


def _composed(root: Path, experiments: Sequence[str] | None, overrides: list[str]) -> dict[str, Any]:
    """Compose, or take the result from the cache: composing takes a second, looking takes a few milliseconds."""
    digest = hashlib.sha256(json.dumps([experiments, overrides]).encode())
    for folder, pattern in ((root / "config", "**/*.yaml"), (Path(__file__).parent, "*.py")):
        for path in sorted(folder.glob(pattern)):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    cached = root / ".snakemake/imagewright" / f"{digest.hexdigest()}.json"
    if cached.is_file():
        return json.loads(cached.read_text())  # type: ignore[no-any-return]
    composed = _compose(root, experiments, overrides)
    write_json(cached, composed)
    return composed


def _compose(root: Path, experiments: Sequence[str] | None, overrides: list[str]) -> dict[str, Any]:
    # Imported here, since a cached plan needs neither Hydra nor pydantic.
    from imagewright.config.compose import compose_experiment, compose_trials, load_yaml
    from imagewright.config.report import ReportSection

    names = experiments
    if names is None:
        names = load_yaml(root / "config/workflow.yaml").get("experiments")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            "config/workflow.yaml: experiments is not a list of names",
            "write for example: experiments: [digits, brain]",
        )
    result: dict[str, Any] = {"experiments": {}, "tensors": {}, "folders": {}, "sections": {}}
    sections = result["sections"]
    for name in dict.fromkeys(names):
        experiment = compose_experiment(root / "config", name, overrides)
        config, data = experiment.config, experiment.data
        tensors = f"{data}-{experiment.tensors}"
        trials = compose_trials(root / "config", experiment)
        result["experiments"][experiment.name] = {
            "data": data,
            "tensors": tensors,
            "trials": {trial: _needs(found.section) for trial, found in trials.items()},
            "overrides": list(experiment.overrides),
            "task": config.data.task,
        }
        result["tensors"][tensors] = data
        if config.data.source.kind == "folder":
            result["folders"][data] = config.data.source.path or f"data/raw/{data}"
        sections[f"fetch/{data}.yaml"] = config.data.fetch_section.to_yaml()
        sections[f"index/{data}.yaml"] = config.data.index_section.to_yaml()
        sections[f"tensors/{tensors}.yaml"] = experiment.tensors_section.to_yaml()
        for trial, found in trials.items():
            sections[f"train/{experiment.name}/{trial}.yaml"] = found.section.to_yaml()
        sections[f"tracking/{experiment.name}.yaml"] = config.tracking.to_yaml()
        sections[f"select/{experiment.name}.yaml"] = experiment.select_section(trials).to_yaml()
        sections[f"evaluate/{experiment.name}.yaml"] = config.evaluate.to_yaml()
        sections[f"export/{experiment.name}.yaml"] = config.export.to_yaml()
        sections[f"gate/{experiment.name}.yaml"] = experiment.gate_section.to_yaml()
        sections[f"bundle/{experiment.name}.yaml"] = experiment.bundle_section(trials).to_yaml()
    sections["report/summary.yaml"] = ReportSection(experiments=list(result["experiments"])).to_yaml()
    return result


def _needs(section: "TrainSection") -> dict[str, Any]:
    """What the workflow has to know of a trial: its processes, its threads, and a file of weights if it reads one."""
    _, _, file = section.model.pretrained.partition("file:")
    settings = section.train
    return {
        "processes": settings.processes,
        "threads": settings.threads * settings.processes,
        "files": [file] if file else [],
    }
