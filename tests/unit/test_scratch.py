"""The folder to build in: nothing of anybody else's is ever emptied, and raw data is never written through the link."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagewright.config.bundle import BundleSection
from imagewright.errors import ReproduceError
from imagewright.reproduce.scratch import MARK, check_raw, fill, opened, remove
from imagewright.reproduce.workflow import RULES, environment


def left_over(folder: Path, raw: Path) -> None:
    """What a killed call leaves: a build, a lock of Snakemake's, a link to raw data."""
    (folder / ".snakemake/locks").mkdir(parents=True)
    (folder / ".snakemake/locks/0.output.lock").touch()
    (folder / "data/raw").mkdir(parents=True)
    raw.mkdir()
    (raw / "1.png").write_bytes(b"picture")
    (folder / "data/raw/pets").symlink_to(raw)
    (folder / "loose").symlink_to(raw)
    (folder / MARK).touch()


def test_what_is_left_over_is_emptied_and_links_are_not_followed(tmp_path: Path) -> None:
    folder, raw = tmp_path / "pets", tmp_path / "images"
    left_over(folder, raw)
    with opened(folder):
        assert [path.name for path in folder.iterdir()] == [MARK]
    left_over(tmp_path / "other", tmp_path / "others")
    remove(tmp_path / "other")
    assert (raw / "1.png").read_bytes() == (tmp_path / "others/1.png").read_bytes() == b"picture"
    assert not (tmp_path / "other").exists()


def test_what_somebody_else_has_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets/thesis.tex").write_text("all of it")
    with pytest.raises(ReproduceError, match=r"pets: something else lies here, thesis.tex"), opened(tmp_path / "pets"):
        pass
    assert [path.name for path in (tmp_path / "pets").iterdir()] == ["thesis.tex"]


def test_two_calls_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    with opened(folder), pytest.raises(ReproduceError, match="still at work"), opened(folder):
        pass
    with opened(folder):
        pass


def test_the_folder_is_held_by_whoever_still_builds_in_it(tmp_path: Path) -> None:
    # `imagewright reproduce` may be killed and leave Snakemake behind.
    folder = tmp_path / "pets"
    with opened(folder) as lock:
        running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(ReproduceError, match="still at work"), opened(folder):
        pass
    running.communicate(b"\n")
    with opened(folder):
        pass


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "pets").write_text("")
    with pytest.raises(ReproduceError, match="no folder can be made here: File exists"), opened(tmp_path / "pets"):
        pass


@pytest.mark.parametrize("there", [[], ["pets"]])
def test_missing_raw_data(tmp_path: Path, there: list[str]) -> None:
    for name in there:
        (tmp_path / "data/raw" / name).mkdir(parents=True)
    name = r"pets\.json" if there else "pets"
    with pytest.raises(ReproduceError, match=rf"data/raw/{name}: the raw data of 'pets' is not here.*\n.*pull"):
        check_raw(tmp_path, "pets")


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    section = BundleSection(experiment="pets", data="pets", tensors="pets-rgb8", trials=[], overrides=[])
    with pytest.raises(ReproduceError, match="Snakefile: there is no such file or folder"):
        fill(tmp_path, tmp_path / "scratch", section)


def test_no_cluster_no_tracking_and_no_fetching() -> None:
    given = {"SNAKEMAKE_PROFILE": "gcp", "PYTHONPATH": "elsewhere", "WANDB_MODE": "online", "PATH": "/bin", "LANG": "C"}
    variables = environment(given)
    assert variables == {
        "WANDB_MODE": "disabled",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}/bin",
        "LANG": "C",
    }
    assert "fetch" not in RULES
