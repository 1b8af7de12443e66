"""Gather a bundle: copies of the bytes that were gated, and the facts about them."""

import shutil
from pathlib import Path
from typing import Any

from imagewright.bundle.card import write_card
from imagewright.bundle.crate import write_crate
from imagewright.bundle.fingerprints import bundle_id, fingerprints
from imagewright.bundle.record import write_record
from imagewright.config.bundle import BundleSection
from imagewright.errors import EvidenceError, GateError
from imagewright.files import read_json, sha256, write_json

COPIED = (
    "task", "classes", "names", "ignore", "input", "output", "model", "normalisation", "pretrained", "temperature",
)  # fmt: skip
"""What `export.json` says of the model, and `bundle.json` after it."""


def write_bundle(section: BundleSection, results: Path, lock: Path, workflow: Path, out: Path) -> None:
    """Write what is served (the exported files, `gate.json` and `bundle.json`), then the record of how it was made.

    Args:
        section: the experiment's names.
        results: the folder `results/`, with every stage before this one.
        lock: the file of exact package versions.
        workflow: the Snakefile.
        out: the folder to write to.

    Raises:
        GateError: the gate did not pass.
        EvidenceError: a file is not the one that was gated.
    """
    bundle = _write_served(section, results, lock, out)
    record = write_record(section, bundle, results, lock, workflow, out / "record.json")
    index = read_json(results / "index" / section.data / "report.json")
    evaluation = read_json(results / "evaluate" / section.experiment / "metrics.json")
    write_card(bundle, index, evaluation, read_json(out / "gate.json"), record, out / "card.md")
    provenance = read_json(results / "resolve/provenance" / f"{section.experiment}.json")
    write_crate(bundle, record, provenance["sections"], workflow, out)


def _write_served(section: BundleSection, results: Path, lock: Path, out: Path) -> dict[str, Any]:
    gate = read_json(results / "gate" / section.experiment / "gate.json")
    if not gate["passed"]:
        raise GateError(
            f"{section.experiment}: the gate did not pass: {'; '.join(gate['reasons'])}",
            "nothing is bundled without it",
        )
    for judged, digest in gate["files"].items():
        stage, name = judged.split("/")
        file = copied = results / stage / section.experiment / name
        if stage == "export":
            copied = out / name
            shutil.copyfile(file, copied)
        if sha256(copied) != digest:
            raise EvidenceError(f"{file}: this is not the file that was gated", "delete it and run snakemake again")
    export = read_json(out / "export.json")
    write_json(out / "gate.json", gate)
    marks = fingerprints(section, results, lock)
    default, judged = gate["default_runtime"], gate["runtimes"]
    bundle = {
        "id": bundle_id(marks),
        "experiment": section.experiment,
        "overrides": section.overrides,
        "data": section.data,
        "tensors": section.tensors,
        **{key: export[key] for key in COPIED},
        # Only what is within its limits may answer; a runtime that was left out stays in the folder as evidence.
        "runtimes": {name: file for name, file in export["runtimes"].items() if judged.get(name, {}).get("passed")},
        "default_runtime": default,
        "metrics": gate["runtimes"][default]["metrics"],
        "primary_metric": gate["primary_metric"],
        "baseline": gate["baseline"],
        "n": gate["n"],
        "fingerprints": marks,
    }
    # The card and the record tell of one run, so the facts of the model do not hash them; the crate does.
    bundle["files"] = {path.name: sha256(path) for path in sorted(out.iterdir())}
    write_json(out / "bundle.json", bundle)
    return bundle
