"""A check that the trials of a sweep differ."""

from collections.abc import Mapping
from typing import Any

from imagewright.errors import EvidenceError
from imagewright.files import sha256_json


def check_distinct(records: Mapping[str, Mapping[str, Any]], trials: Mapping[str, Mapping[str, Any]]) -> None:
    """Stop if two trials ran with the same effective values, so that a sweep compared a model with itself.

    Args:
        records: `trial.json` of each trial.
        trials: the values that the sweep gave each.

    Raises:
        EvidenceError: two did.
    """
    ran: dict[str, str] = {}
    for name, record in records.items():
        values = sha256_json([record[key] for key in ("effective", "model", "pretrained")])
        if values in ran:
            other = ran[values]
            raise EvidenceError(
                f"select: trials {other} {dict(trials[other])} and {name} {dict(trials[name])} ran "
                "with the same values",
                "what the sweep varies never reached the training: compare `effective` in their trial.json",
            )
        ran[values] = name
