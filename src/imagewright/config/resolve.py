"""Compose every experiment once and write each stage's own section, only where its content changed.

The Snakefile, `scripts/resolve.py` (DVC's first stage) and the tests call the same function, `resolve`.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagewright.config.listing import listing
from imagewright.errors import ConfigError
from imagewright.files import read_json, write_json, write_text_if_changed

if TYPE_CHECKING:
    from imagewright.config.train import TrainSection

STAGES = ("fetch", "index", "tensors", "train", "select", "evaluate", "export", "gate", "bundle", "report")
# A script called select.py would hide Python's own module `select` from every script beside it.
SCRIPTS = {stage: f"scripts/{stage}.py" for stage in STAGES} | {"select": "scripts/select_.py"}
STARTED = {"gate": "src/imagewright/serve/command.py"}
"""Code that a stage runs as a process of its own, which no import shows."""
LEVELS = {"fetch": "data", "raw": "data", "index": "data", "tensors": "tensors"}
"""What a stage is run for, where that is not an experiment; `raw` are the listings of raw data."""
HERE = ("fetch", "bundle", "report")
"""Stages that run where Snakemake does, whatever the profile: the first needs the network, the others a second."""
VARIABLE = re.compile(rb"oc\.env:\s*(\w+)")
KNOWN = ".snakemake/imagewright/raw"
LISTINGS = "results/resolve/listing"
UNFINISHED = ".snakemake/imagewright/pull.unfinished"
"""There while `imagewright pull` is at work: half of the results may be those of another commit."""


@dataclass(frozen=True)
class Plan:
    """What the workflow is to build, in names alone.

    Attributes:
        experiments: of each, its data, tensors, trials, overrides and task.
        tensors: the data config of each.
        folders: where the images of a data config lie, if a person put them there.
        sections: for each stage, the files below `results/resolve/` that its jobs read first: its code's fingerprint,
            and a section for each job.
    """

    experiments: Mapping[str, Mapping[str, Any]]
    tensors: Mapping[str, str]
    folders: Mapping[str, str]
    sections: Mapping[str, Sequence[str]]

    @property
    def data(self) -> list[str]:
        """The data configs in use."""
        return sorted(set(self.tensors.values()))


def resolve(root: Path, experiments: Sequence[str] | None = None, overrides: Sequence[str] = ()) -> Plan:
    """Compose the experiments, write what stages read first to `results/resolve/`, and name what to build.

    That is a section for each stage and name, a fingerprint of each stage's code, and for each experiment its
    provenance: the hashes of all the sections and all the code that stand behind it.

    Args:
        root: the project's folder.
        experiments: names of files in `config/experiment/`; by default those that `config/workflow.yaml` lists.
        overrides: Hydra overrides for all of them; each then builds under a name of its own.

    Raises:
        ConfigError: a name, a key or a value is wrong.
    """
    composed = _remembered(
        root, [experiments, list(overrides)], [*root.glob("config/**/*.yaml"), *Path(__file__).parent.glob("*.py")],
        lambda: _compose(root, experiments, list(overrides)),
    )  # fmt: skip
    for name, text in composed["sections"].items():
        write_text_if_changed(root / "results/resolve" / name, text)
    code = _remembered(
        root, "code", [*root.glob("scripts/*.py"), *root.glob("src/**/*.py"), *root.glob("src/**/templates/*")],
        lambda: _code_of_stages(root),
    )  # fmt: skip
    for stage, fingerprint in code.items():
        write_json(root / "results/resolve/code" / f"{stage}.json", fingerprint)
    marks = {stage: fingerprint["all"] for stage, fingerprint in code.items() if stage != "report"}
    for name, sections in composed["provenance"].items():
        write_json(root / "results/resolve/provenance" / f"{name}.json", {"sections": sections, "code": marks})
    # DVC wants its folder to be there, also where nothing is in it.
    raw = root / "results/resolve/raw"
    raw.mkdir(parents=True, exist_ok=True)
    for data, folder in composed["folders"].items():
        # A clone may have the results without the images; that does not make the results old.
        if (root / folder).is_dir() or not (raw / f"{data}.txt").is_file():
            write_text_if_changed(raw / f"{data}.txt", listing(root / folder, root / KNOWN / f"{data}.json"))
    return Plan(composed["experiments"], composed["tensors"], composed["folders"], _sections(composed))


def list_sections(root: Path, plan: Plan) -> dict[str, dict[str, str]]:
    """For each stage's listing, by the file that it belongs into, the MD5s of its code's fingerprint and its sections.

    DVC's stages depend on these listings, and so on which experiments there are, too.
    """

    def md5(path: str) -> str:
        return hashlib.md5((root / path).read_bytes(), usedforsecurity=False).hexdigest()

    return {f"{LISTINGS}/{stage}.json": {path: md5(path) for path in paths} for stage, paths in plan.sections.items()}


def meanings(config_dir: Path, name: str) -> list[tuple[str, str]]:
    """The data and the tensors of `config/` that `<data>-<tensors>` may mean: both may have hyphens of their own."""
    parts = name.split("-")
    pairs = [("-".join(parts[:cut]), "-".join(parts[cut:])) for cut in range(1, len(parts))]
    return [
        (data, tensors)
        for data, tensors in pairs
        if (config_dir / f"data/{data}.yaml").is_file() and (config_dir / f"tensors/{tensors}.yaml").is_file()
    ]


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


def _remembered(root: Path, key: Any, files: Iterable[Path], make: Callable[[], Any]) -> Any:
    """What `make` gives; from the cache where no file has changed, since every job plans anew before it starts.

    Nor may a variable of the environment that a file refers to (`${oc.env:DATA}`).
    """
    digest = hashlib.sha256(json.dumps(key).encode())
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"\0{path}\0".encode() + content)
        for name in VARIABLE.findall(content):
            digest.update(b"\0" + os.environb.get(name, b"\0"))
    cached = root / ".snakemake/imagewright" / f"{digest.hexdigest()}.json"
    if not cached.is_file():
        write_json(cached, make())
    return read_json(cached)


def _sections(composed: Mapping[str, Any]) -> dict[str, list[str]]:
    names = [*composed["sections"], *(f"provenance/{name}.json" for name in composed["provenance"])]
    owners = {"provenance": "bundle"}
    found = {stage: [f"results/resolve/code/{stage}.json"] for stage in STAGES}
    for name in names:
        kind = name.split("/")[0]
        # Where a run is sent to changes no result.
        if kind != "tracking":
            found[owners.get(kind, kind)].append(f"results/resolve/{name}")
    return found


def _code_of_stages(root: Path) -> dict[str, dict[str, str]]:
    # Imported here, as what composes is: what is remembered needs none of it.
    from imagewright.config.code import code_fingerprint

    return {
        stage: code_fingerprint(
            root / SCRIPTS[stage], root / "src", root / STARTED[stage] if stage in STARTED else None
        )
        for stage in STAGES
    }


def _compose(root: Path, experiments: Sequence[str] | None, overrides: list[str]) -> dict[str, Any]:
    # Imported here, since a plan that is remembered needs neither Hydra nor pydantic.
    from imagewright.config.compose import (
        check_shared,
        compose_experiment,
        compose_shared,
        compose_trials,
        load_yaml,
    )
    from imagewright.config.report import ReportSection

    names = experiments
    if names is None:
        names = load_yaml(root / "config/workflow.yaml").get("experiments")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            "config/workflow.yaml: experiments is not a list of names",
            "write for example: experiments: [digits, brain]",
        )
    result: dict[str, Any] = {"experiments": {}, "tensors": {}, "folders": {}, "sections": {}, "provenance": {}}
    alone = cache(partial(compose_shared, root / "config"))
    for name in dict.fromkeys(names):
        experiment = compose_experiment(root / "config", name, overrides)
        config, data = experiment.config, experiment.data
        for group, choice in (("data", data), ("tensors", experiment.tensors)):
            file = root / "config" / group / f"{choice}.yaml"
            check_shared(experiment.written[group], alone(group, choice), file, experiment.name)
        tensors = f"{data}-{experiment.tensors}"
        _check_one_meaning(root / "config", data, experiment.tensors)
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
        sections = {
            f"fetch/{data}.yaml": config.data.fetch_section.to_yaml(),
            f"index/{data}.yaml": config.data.index_section.to_yaml(),
            f"tensors/{tensors}.yaml": experiment.tensors_section.to_yaml(),
            **{f"train/{experiment.name}/{trial}.yaml": found.section.to_yaml() for trial, found in trials.items()},
            f"select/{experiment.name}.yaml": experiment.select_section(trials).to_yaml(),
            f"evaluate/{experiment.name}.yaml": config.evaluate.to_yaml(),
            f"export/{experiment.name}.yaml": config.export.to_yaml(),
            f"gate/{experiment.name}.yaml": experiment.gate_section.to_yaml(),
        }
        result["provenance"][experiment.name] = {
            section: hashlib.sha256(text.encode()).hexdigest() for section, text in sections.items()
        }
        result["sections"] |= sections
        result["sections"][f"bundle/{experiment.name}.yaml"] = experiment.bundle_section(trials).to_yaml()
        result["sections"][f"tracking/{experiment.name}.yaml"] = config.tracking.to_yaml()
    result["sections"]["report/summary.yaml"] = ReportSection(experiments=list(result["experiments"])).to_yaml()
    return result


def _check_one_meaning(config_dir: Path, data: str, tensors: str) -> None:
    """Stop if `<data>-<tensors>` could be two other files' name as well, whose results would lie in the same folder."""
    for other in meanings(config_dir, f"{data}-{tensors}"):
        if other != (data, tensors):
            raise ConfigError(
                f"config: data {data} with tensors {tensors} has the name of {other[0]} with {other[1]}",
                "rename one of the four files",
            )


def _needs(section: "TrainSection") -> dict[str, Any]:
    """What the workflow has to know of a trial: its processes, its threads, and a file of weights if it reads one."""
    _, _, file = section.model.pretrained.partition("file:")
    settings = section.train
    return {
        "processes": settings.processes,
        "threads": settings.threads * settings.processes,
        "files": [file] if file else [],
    }
