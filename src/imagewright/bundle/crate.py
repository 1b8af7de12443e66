"""A bundle's record as a Workflow Run RO-Crate, in which other tools and archives can read where a model comes from.

Workflow Run Crate 0.5 on RO-Crate 1.1: the newest pair that rocrate-validator knows (0.6 on 1.3 is of September 2026).
https://w3id.org/ro/wfrun/workflow/0.5
"""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rocrate.model.computationalworkflow import ComputationalWorkflow
from rocrate.model.contextentity import ContextEntity
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from imagewright.files import sha256

VERSION = "1.1"
# Hashes and the use of resources are this vocabulary's words.
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
LICENSE = "Not stated: it depends on the licences of the images and of the weights that the training started from."
MAIN = "Snakefile"
FORMATS = {".json": "application/json", ".md": "text/markdown", ".onnx": "application/octet-stream"}
FILES = {
    "bundle.json": "What the model is, its metrics on test with intervals, and the fingerprints of its origin",
    "card.md": "Model card",
    "export.json": "What the model takes and gives, how it was exported, and the hashes of the exported files",
    "gate.json": "The runtimes compared over the whole test split, and the verdict",
    "model.int8.onnx": "The model with 8-bit weights, preprocessing and probabilities inside the graph",
    "model.onnx": "The model, preprocessing and probabilities inside the graph",
    "record.json": "Commit, hardware, and each stage's time and memory",
}
# The key in record.json, what it is called, what defines the quantity, and its unit.
USES = (
    ("seconds", "wall-clock time", "https://en.wikipedia.org/wiki/Elapsed_real_time", "unit/SEC"),
    ("peak_memory_mb", "peak memory", "https://en.wikipedia.org/wiki/Resident_set_size", "unit/MebiBYTE"),
)
UNITS = "https://qudt.org/vocab/"


def write_crate(
    bundle: dict[str, Any], record: dict[str, Any], sections: dict[str, str], workflow: Path, out: Path
) -> None:
    """Write `ro-crate-metadata.json`, and a copy of the Snakefile, which the profile wants within the crate.

    The metadata file lists every other file of the folder with size and SHA-256. It names no person, no machine and no
    folder outside the bundle.

    Args:
        bundle: `bundle.json`.
        record: `record.json`.
        sections: the SHA-256 of every section of the configuration that took part, for example of
            `train/digits/default.yaml`.
        workflow: the Snakefile.
        out: the folder of the bundle, with everything else in it.
    """
    crate = ROCrate(version=VERSION)
    crate.metadata.extra_contexts.append(TERMS)
    crate.name = f"{bundle['experiment']} ({bundle['id']})"
    crate.description = (
        f"{bundle['task'].capitalize()} into {len(bundle['classes'])} classes with {bundle['model']['name']}: "
        "the files that are served, and where they come from"
    )
    crate.license = _add(crate, "#license", "CreativeWork", name="Licence", description=LICENSE)
    crate.datePublished = record["written"]
    crate.root_dataset["conformsTo"] = [
        _add(crate, url, "CreativeWork", name=name, version=url.rsplit("/", 1)[1]) for url, name in PROFILES.items()
    ]
    own = (crate.metadata.id, MAIN)
    files = {path.name: _add_file(crate, path) for path in sorted(out.iterdir()) if path.name not in own}
    trace = files.pop("record.json")
    shutil.copyfile(workflow, out / MAIN)
    action = crate.add_action(
        _add_workflow(crate, out / MAIN, record["commit"]),
        f"#run-{bundle['id']}",
        object=_inputs(crate, bundle, record, sections),
        result=[*files.values(), *_metrics(crate, bundle)],
        properties={
            "name": f"Build of {bundle['experiment']}, from raw images to a gated bundle",
            "description": _description(record),
            **_times(record),
        },
    )
    if uses := _uses(crate, record):
        action["resourceUsage"] = uses
    trace["about"] = action
    crate.root_dataset["mentions"] = action
    crate.metadata.write(out)


def _add(crate: ROCrate, name_or_url: str, kind: str, **properties: Any) -> ContextEntity:
    return crate.add(ContextEntity(crate, name_or_url, properties={"@type": kind, **properties}))


def _add_file(crate: ROCrate, path: Path) -> File:
    about = {"description": FILES[path.name]} if path.name in FILES else {}
    return crate.add_file(path, path.name, properties={"name": path.name, **about, **_file_facts(path)})


def _add_workflow(crate: ROCrate, path: Path, commit: str | None) -> ComputationalWorkflow:
    facts = {"name": "Imagewright", **_file_facts(path)} | ({"version": commit} if commit else {})
    return crate.add_workflow(path, path.name, main=True, lang="snakemake", properties=facts)


def _file_facts(path: Path) -> dict[str, str]:
    return {
        "contentSize": str(path.stat().st_size),
        "encodingFormat": FORMATS.get(path.suffix, "text/plain"),
        "sha256": sha256(path),
    }


def _inputs(
    crate: ROCrate, bundle: dict[str, Any], record: dict[str, Any], sections: dict[str, str]
) -> list[ContextEntity]:
    """What the run read: the images, by the hash over all of their hashes; the configuration; the versions."""
    images = _add(
        crate,
        f"#data/{bundle['data']}",
        "CreativeWork",
        name=f"Images and labels of {bundle['data']}",
        description="The hash is of the table of every image's name, SHA-256, label and mask",
        sha256=record["fingerprints"]["data"],
    )
    named = {f"results/resolve/{section}": mark for section, mark in sections.items()}
    named["requirements.lock"] = record["lock"]
    return [images, *(_add(crate, f"#{path}", "CreativeWork", name=path, sha256=mark) for path, mark in named.items())]


def _metrics(crate: ROCrate, bundle: dict[str, Any]) -> list[ContextEntity]:
    """The metrics over all classes; those of each class are in `bundle.json`."""
    return [
        _add(
            crate,
            f"#metric/{name}",
            "PropertyValue",
            name=f"{name} on test",
            value=metric["value"],
            minValue=metric["low"],
            maxValue=metric["high"],
        )
        for name, metric in bundle["metrics"].items()
        if "/" not in name and metric["value"] is not None
    ]


def _uses(crate: ROCrate, record: dict[str, Any]) -> list[ContextEntity]:
    """Each stage's time and memory, in the form in which the profiles have the use of resources."""
    return [
        _add(
            crate,
            f"#use/{job['stage']}/{job['name']}/{key}",
            "PropertyValue",
            name=f"{job['stage']} {job['name']}: {words}",
            propertyID=quantity,
            unitCode=UNITS + unit,
            value=job[key],
        )
        for job in record["stages"]
        for key, words, quantity, unit in USES
        if job[key] is not None
    ]


def _times(record: dict[str, Any]) -> dict[str, str]:
    """The end, and the start that the stages' own times make of it; without all of those no start is claimed."""
    end = datetime.fromisoformat(record["written"])
    seconds = [job["seconds"] for job in record["stages"]]
    if None in seconds:
        return {"endTime": end.isoformat()}
    return {
        "startTime": (end - timedelta(seconds=sum(seconds))).isoformat(timespec="seconds"),
        "endTime": end.isoformat(),
    }


def _description(record: dict[str, Any]) -> str:
    training = record["hardware"]["training"]
    edited = ", with uncommitted changes" if record["dirty"] else ""
    return (
        f"snakemake results/bundle/{record['experiment']}/bundle.json. "
        f"Code at commit {record['commit'] or 'unknown'}{edited}. Trained on {training['device']} "
        f"({training['machine']}, {training['instructions']}) with {training['threads']} threads. "
        "Stages whose inputs had not changed were not run again: from start to end is the sum of the stages' times."
    )
