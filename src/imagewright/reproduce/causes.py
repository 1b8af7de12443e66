"""What has changed since an experiment was recorded, and so may be why it comes out otherwise: config and code."""

from pathlib import Path

from imagewright.bundle.fingerprints import CODE, section_files
from imagewright.config.bundle import BundleSection
from imagewright.files import read_json, sha256, sha256_json
from imagewright.reproduce.compare import differing, listed
from imagewright.reproduce.facts import Facts

Hashes = dict[str, str]


def changes(recorded: Facts, before: Path, section: BundleSection, now: Path) -> list[str]:
    """Say which of config and code is not what was recorded, and where as far as that is known.

    Args:
        recorded: the facts, with the bundle's fingerprints.
        before: the folder `results/` of the record.
        section: the experiment as it is composed today.
        now: the folder `results/` that was resolved today.

    Returns:
        For example `config has changed (train/digits/default.yaml)`; nothing where neither has.
    """
    marks = recorded.stages["bundle"]
    here = {"config": _sections(section, now), "code": _code(now)}
    # These may have been resolved again since the record: then it is not known what was changed.
    there = {"config": _sections(recorded.section, before), "code": _code(before)}
    found = []
    for name, (files, mark) in here.items():
        if mark != marks[name]:
            old, old_mark = there[name]
            where = f" ({listed(differing(old, files))})" if old_mark == marks[name] else ""
            found.append(f"{name} has changed{where}")
    return found


def _sections(section: BundleSection, results: Path) -> tuple[Hashes, str]:
    """Each section's hash, and the bundle's fingerprint of all of them."""
    paths = [path for path in section_files(section, results) if path.is_file()]
    hashes = {path.relative_to(results / "resolve").as_posix(): sha256(path) for path in paths}
    return hashes, sha256_json(list(hashes.values()))


def _code(results: Path) -> tuple[Hashes, str]:
    """Each file's hash, and the bundle's fingerprint of all of them."""
    paths = {stage: results / "resolve/code" / f"{stage}.json" for stage in CODE}
    stages = {stage: read_json(path) for stage, path in paths.items() if path.is_file()}
    hashes = {file: mark for files in stages.values() for file, mark in files.items() if file != "all"}
    return hashes, sha256_json({stage: files["all"] for stage, files in stages.items()})
