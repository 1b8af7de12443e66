"""What has changed since an experiment was recorded, and so may be why it comes out otherwise: config and code."""

from pathlib import Path

from imagewright.config.resolve import STAGES
from imagewright.files import read_json, sha256_json
from imagewright.reproduce.compare import differing, listed
from imagewright.reproduce.facts import Facts

Hashes = dict[str, str]


def changes(recorded: Facts, before: Path, now: Path) -> list[str]:
    """Say which of config and code is not what was recorded, and where as far as that is known.

    Args:
        recorded: the facts, with the bundle's fingerprints.
        before: the folder `results/` of the record.
        now: the folder `results/` that was resolved today.

    Returns:
        For example `config has changed (train/digits/default.yaml)`; nothing where neither has.
    """
    marks, experiment = recorded.stages["bundle"], recorded.section.experiment
    found = []
    for name, read in (("config", _sections), ("code", _code)):
        (old, old_mark), (files, mark) = (read(results, experiment) for results in (before, now))
        if mark != marks[name]:
            # The older ones may have been resolved again since the record: then it is not known what was changed.
            where = f" ({listed(differing(old, files))})" if old_mark == marks[name] else ""
            found.append(f"{name} has changed{where}")
    return found


def _sections(results: Path, experiment: str) -> tuple[Hashes, str]:
    """Each section's hash, in the order of the stages, and the bundle's fingerprint of all of them."""
    hashes = _provenance(results, experiment)["sections"]
    in_order = sorted(hashes, key=lambda section: STAGES.index(section.split("/")[0]))
    return {section: hashes[section] for section in in_order}, sha256_json(hashes)


def _code(results: Path, experiment: str) -> tuple[Hashes, str]:
    """Each file's hash, and the bundle's fingerprint of all of them."""
    # The files that lie there may be newer than the provenance, when another experiment alone was resolved since.
    paths = {stage: results / "resolve/code" / f"{stage}.json" for stage in _provenance(results, experiment)["code"]}
    stages = {stage: read_json(path) for stage, path in paths.items() if path.is_file()}
    hashes = {file: mark for files in stages.values() for file, mark in files.items() if file != "all"}
    return hashes, sha256_json({stage: files["all"] for stage, files in stages.items()})


def _provenance(results: Path, experiment: str) -> dict[str, Hashes]:
    path = results / "resolve/provenance" / f"{experiment}.json"
    return read_json(path) if path.is_file() else {"sections": {}, "code": {}}  # type: ignore[no-any-return]
