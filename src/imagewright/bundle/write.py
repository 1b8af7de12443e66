"""Gather a bundle: copies of the bytes that were gated, and the facts about them."""

import shutil
from pathlib import Path

from imagewright.bundle.card import write_card
from imagewright.bundle.fingerprints import bundle_id, fingerprints
from imagewright.config.bundle import BundleSection
from imagewright.errors import EvidenceError, GateError
from imagewright.files import read_json, sha256, write_json


def write_bundle(section: BundleSection, results: Path, lock: Path, out: Path) -> None:
    """Write the exported files, `gate.json`, `bundle.json` and `card.md`.

    Args:
        section: the experiment's names.
        results: the folder `results/`, with every stage before this one.
        lock: the file of exact package versions.
        out: the folder to write to.

    Raises:
        GateError: the gate did not pass.
        EvidenceError: a file is not the one that was gated.
    """
    exported = results / "export" / section.experiment
    gate = read_json(results / "gate" / section.experiment / "gate.json")
    if not gate["passed"]:
        raise GateError(
            f"{section.experiment}: the gate did not pass: {'; '.join(gate['reasons'])}",
            "nothing is bundled without it",
        )
    export, labels, form = (read_json(exported / f"{name}.json") for name in ("export", "labels", "input"))
    for name in ("export.json", *export["sha256"]):
        shutil.copyfile(exported / name, out / name)
        if name != "export.json" and sha256(out / name) != export["sha256"][name]:
            raise EvidenceError(
                f"{exported / name}: this is not the file that was gated", "delete it and run snakemake again"
            )
    write_json(out / "gate.json", gate)
    marks = fingerprints(section, results, lock)
    default = gate["default_runtime"]
    bundle = {
        "id": bundle_id(marks),
        "experiment": section.experiment,
        "overrides": section.overrides,
        "data": section.data,
        "tensors": section.tensors,
        "task": labels["task"],
        "classes": labels["classes"],
        "names": labels["names"],
        "ignore": labels["ignore"],
        "input": form,
        "model": export["model"],
        "normalisation": export["normalisation"],
        "pretrained": export["pretrained"],
        "temperature": export["temperature"],
        # Only what is within its limits may answer; a runtime that was left out stays in the folder as evidence.
        "runtimes": {name: file for name, file in export["runtimes"].items() if gate["runtimes"][name]["passed"]},
        "default_runtime": default,
        "metrics": gate["runtimes"][default]["metrics"],
        "primary_metric": gate["primary_metric"],
        "baseline": gate["baseline"],
        "n": gate["n"],
        "fingerprints": marks,
    }
    index = read_json(results / "index" / section.data / "report.json")
    evaluation = read_json(results / "evaluate" / section.experiment / "metrics.json")
    write_card(bundle, index, evaluation, gate, out / "card.md")
    bundle["files"] = {path.name: sha256(path) for path in sorted(out.iterdir())}
    write_json(out / "bundle.json", bundle)
