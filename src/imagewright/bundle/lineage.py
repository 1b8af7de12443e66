"""Tell the tracker which data a bundle was made from, and keep the bundle there."""

from pathlib import Path

from imagewright.files import read_json
from imagewright.tracking import Tracker

TOLD = ("data", "split", "tensors", "config", "code", "environment")
"""Fingerprints of what the model was made from; those of the model itself are its own metadata."""


def record_lineage(tracker: Tracker, bundle: Path) -> None:
    """Record the bundle as an artifact whose origin is the data's fingerprint; no image is sent.

    Args:
        tracker: of the stage.
        bundle: what `bundle` wrote.
    """
    facts = read_json(bundle / "bundle.json")
    marks = facts["fingerprints"]
    tracker.use(f"{facts['data']}-{marks['data'][:12]}", "dataset", {name: marks[name] for name in TOLD})
    metrics = {name: metric["value"] for name, metric in facts["metrics"].items()}
    about = {"id": facts["id"], "task": facts["task"], "classes": facts["classes"], "fingerprints": marks}
    tracker.artifact(facts["experiment"], "model", bundle, {**about, "metrics": metrics})
    tracker.summary({"bundle": facts["id"], **metrics})
