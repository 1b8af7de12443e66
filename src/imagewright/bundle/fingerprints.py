"""Where a bundle came from, as hashes: two bundles with the same fingerprints are the same model."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from imagewright.config.bundle import BundleSection
from imagewright.files import read_json, sha256, sha256_json


def fingerprints(section: BundleSection, results: Path, lock: Path) -> dict[str, str]:
    """One SHA-256 each for data, split, tensors, config, code, environment, weights and onnx.

    Args:
        section: the experiment's names.
        results: the folder `results/`.
        lock: the file of exact package versions.
    """
    index = pd.read_parquet(results / "index" / section.data / "index.parquet").sort_values("id")
    meta = read_json(results / "tensors" / section.tensors / "meta.json")
    selection = read_json(results / "select" / section.experiment / "selection.json")
    trial = read_json(results / "train" / section.experiment / selection["trial"] / "trial.json")
    export = read_json(results / "export" / section.experiment / "export.json")
    provenance = read_json(results / "resolve/provenance" / f"{section.experiment}.json")
    content = index[["id", "sha256", "label", "mask_sha256"]].fillna("")
    return {
        "data": _of_table(content),
        "split": _of_table(index[["id", "split"]]),
        "tensors": sha256_json({name: split["sha256"] for name, split in meta["splits"].items()}),
        "config": sha256_json(provenance["sections"]),
        "code": sha256_json(provenance["code"]),
        "environment": sha256_json({"lock": sha256(lock), **trial["environment"]}),
        "weights": sha256(results / "select" / section.experiment / "model.safetensors"),
        "onnx": sha256_json({file: export["sha256"][file] for file in export["runtimes"].values()}),
    }


def bundle_id(parts: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that name a bundle."""
    return sha256_json(parts)[:12]


def _of_table(table: pd.DataFrame) -> str:
    return hashlib.sha256(table.to_csv(index=False, sep="\t").encode()).hexdigest()
