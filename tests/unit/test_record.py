"""The record of a bundle: months later, what code made this model, on what, and how long did it take?"""

import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imagewright.bundle.benchmark import benchmark_file, forget_benchmarks, read_benchmark, record_benchmarks
from imagewright.bundle.commit import CodeState, code_state
from imagewright.bundle.hardware import this_machine
from imagewright.bundle.record import stage_times, write_record
from imagewright.config.bundle import BundleSection
from imagewright.files import read_json, sha256, write_json

SECTION = BundleSection(experiment="pets", data="cats", tensors="cats-gray28", trials=["a1", "b2"], overrides=[])
JOBS = [
    ("fetch", "cats"), ("index", "cats"), ("tensors", "cats-gray28"), ("train", "pets/a1"), ("train", "pets/b2"),
    ("select", "pets"), ("evaluate", "pets"), ("export", "pets"), ("gate", "pets"),
]  # fmt: skip
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("IMAGEWRIGHT_COMMIT", raising=False)
    root = tmp_path / "repository"
    root.mkdir()
    (root / "Snakefile").write_text("rule all:\n    pass\n")
    (root / ".gitignore").write_text("results/\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "First")
    return root


def state(root: Path) -> CodeState:
    return code_state(root / "Snakefile")


def test_the_commit_of_a_clean_tree(repository: Path) -> None:
    (repository / "results").mkdir()
    (repository / "results/made.json").write_text("{}")
    # Written by `dvc repro` between the stages.
    (repository / "dvc.lock").write_text("schema: '2.0'\n")
    assert state(repository) == CodeState(git(repository, "rev-parse", "HEAD"), dirty=False)


@pytest.mark.parametrize("file", ["Snakefile", "config/experiment/new.yaml"])
def test_a_tree_with_edits(repository: Path, file: str) -> None:
    # A new file decides a result just as an edited one does.
    (repository / file).parent.mkdir(parents=True, exist_ok=True)
    (repository / file).write_text("edited\n")
    assert state(repository) == CodeState(git(repository, "rev-parse", "HEAD"), dirty=True)


def test_looking_leaves_no_trace(repository: Path) -> None:
    (repository / "Snakefile").touch()
    before = sha256(repository / ".git/index")
    state(repository)
    assert sha256(repository / ".git/index") == before


def test_without_a_repository_the_environment_names_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Snakefile").touch()
    monkeypatch.delenv("IMAGEWRIGHT_COMMIT", raising=False)
    assert state(tmp_path) == CodeState(None, None)
    monkeypatch.setenv("IMAGEWRIGHT_COMMIT", "c0ffee\n")
    assert state(tmp_path) == CodeState("c0ffee", None)
    monkeypatch.setenv("IMAGEWRIGHT_COMMIT", "")
    assert state(tmp_path) == CodeState(None, None)


def test_a_copy_within_another_repository_is_not_at_its_commit(repository: Path) -> None:
    copy = repository / "results/copy"
    copy.mkdir(parents=True)
    (copy / "Snakefile").touch()
    assert state(copy) == CodeState(None, None)


def test_a_repository_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGEWRIGHT_COMMIT", raising=False)
    (tmp_path / "Snakefile").touch()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    assert state(tmp_path) == CodeState(None, None)


def test_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert state(repository) == CodeState(None, None)


def test_the_machine() -> None:
    machine = this_machine()
    assert machine["cpu"] and machine["cores"] >= 1 and machine["memory_mb"] > 100
    assert isinstance(machine["gpus"], list)
    assert platform.node() not in str(machine)


@pytest.mark.parametrize(
    ("answer", "cards"),
    [("echo 'NVIDIA H200'; echo 'NVIDIA L4'", ["NVIDIA H200", "NVIDIA L4"]), ("echo 'no driver'; exit 9", [])],
)
def test_the_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, cards: list[str]) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_machine()["gpus"] == cards


@pytest.fixture
def results(tmp_path: Path) -> Path:
    results = tmp_path / "results"
    for number, (stage, name) in enumerate(JOBS, start=1):
        path = results / "benchmark" / stage / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEADER}{number}.5\t0:00:0{number}\t{number}00.25\t9\t9\t9\t0\t0\t90\t1\n")
    return results


def test_every_job_behind_the_experiment_is_there(results: Path) -> None:
    rows = stage_times(SECTION, results)
    assert [(row["stage"], row["name"]) for row in rows] == JOBS
    assert rows[3] == {"stage": "train", "name": "pets/a1", "seconds": 4.5, "peak_memory_mb": 400.25}


@pytest.mark.parametrize(
    ("text", "seconds", "note"),
    [
        (None, None, "results/benchmark/gate/pets.tsv is missing"),
        (f"{HEADER}0.2\t0:00:00" + 8 * "\tNA" + "\n", 0.2, "it ended before its memory was measured"),
        (f"{HEADER}0.2\t0:00:00" + 8 * "\t-" + "\n", 0.2, "it ended before its memory was measured"),
        ("", None, "results/benchmark/gate/pets.tsv is not one of Snakemake's benchmarks"),
        (HEADER, None, "results/benchmark/gate/pets.tsv is not one of Snakemake's benchmarks"),
        (f"{HEADER}0.2\n", None, "results/benchmark/gate/pets.tsv is not one of Snakemake's benchmarks"),
        ("a\tb\n1\t2\n", None, "results/benchmark/gate/pets.tsv is not one of Snakemake's benchmarks"),
    ],
)
def test_what_is_not_known_is_said(results: Path, text: str | None, seconds: float | None, note: str) -> None:
    file = results / "benchmark/gate/pets.tsv"
    file.unlink() if text is None else file.write_text(text)
    row = stage_times(SECTION, results)[-1]
    assert row == {"stage": "gate", "name": "pets", "seconds": seconds, "peak_memory_mb": None, "note": note}


def test_what_was_recorded_counts_where_nothing_was_measured(results: Path) -> None:
    """A clone has no job's own file, and what runs there is recorded beside what was recorded before."""
    for name in ("a1", "b2"):
        (results / "train/pets" / name).mkdir(parents=True)
    (results.parent / "data/raw").mkdir(parents=True)
    (results.parent / "data/raw/cats.json").write_text("[]")
    before = stage_times(SECTION, results)[:5]
    for stage in ("fetch", "train"):
        record_benchmarks(results, stage)
    forget_benchmarks(results)
    assert not benchmark_file(results, "train", "pets/a1").exists()
    assert stage_times(SECTION, results)[:5] == before
    rerun = benchmark_file(results, "train", "pets/b2")
    rerun.write_text(f"{HEADER}99.5\t0:01:39\t900.25\t9\t9\t9\t0\t0\t90\t1\n")
    record_benchmarks(results, "train")
    rerun.unlink()
    assert read_benchmark(results, "train", "pets/b2") == {"seconds": 99.5, "peak_memory_mb": 900.25}
    assert read_benchmark(results, "train", "pets/a1")["seconds"] == 4.5
    # What has no results any more is not recorded.
    (results / "train/pets/a1").rmdir()
    record_benchmarks(results, "train")
    assert set(read_json(results / "benchmark/train.json")) == {"pets/b2"}


def test_the_record(repository: Path, results: Path) -> None:
    environment: dict[str, Any] = {
        "python": "3.11.9", "machine": "x86_64", "device": "cpu", "instructions": "AVX2", "threads": 2, "processes": 1,
    }  # fmt: skip
    write_json(results / "select/pets/selection.json", {"trial": "b2"})
    write_json(results / "train/pets/b2/trial.json", {"environment": {**environment, "packages": {"torch": "2.13.0"}}})
    lock = repository / "requirements.lock"
    lock.write_text("torch==2.13.0\n")
    bundle = {"id": "0123456789ab", "fingerprints": {"data": "d" * 64}}
    record = write_record(SECTION, bundle, results, lock, repository / "Snakefile", results / "record.json")
    assert read_json(results / "record.json") == record
    assert {name: record[name] for name in ("bundle", "experiment", "commit", "dirty", "lock", "fingerprints")} == {
        "bundle": "0123456789ab",
        "experiment": "pets",
        "commit": git(repository, "rev-parse", "HEAD"),
        "dirty": True,
        "lock": sha256(lock),
        "fingerprints": bundle["fingerprints"],
    }
    assert record["hardware"] == {"training": {"trial": "b2", **environment}, "bundling": this_machine()}
    assert len(record["stages"]) == len(JOBS)
    assert record["written"].endswith("+00:00")
