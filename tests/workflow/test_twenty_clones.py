"""Twenty fresh clones of `digits` and `brain`, one after another, of which none has anything left to do."""

from pathlib import Path

import pytest
from checkout import copy_checkout
from clones import clone, commit, is_clean, publish, reach, run
from conftest import Project

CLONES = 20


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_none_has_anything_to_do(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "origin").mkdir()
    copy_checkout(tmp_path / "origin")
    origin = Project(tmp_path / "origin", timeout=1200)
    publish(origin)
    reach(origin, endpoint)
    run(origin, "snakemake", "--cores", "2")
    run(origin, "dvc", "repro")
    run(origin, "dvc", "push")
    commit(origin, "Record the results")
    for number in range(CLONES):
        fresh = clone(origin, tmp_path / f"clone-{number}")
        reach(fresh, endpoint)
        run(fresh, "dvc", "config", "--local", "cache.type", "hardlink" if number % 2 else "copy")
        output = run(fresh, "imagewright", "pull")
        assert "stale: 0 jobs" in output and "missing: 0 files" in output
        assert is_clean(fresh), number
