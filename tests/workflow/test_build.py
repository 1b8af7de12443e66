"""The whole workflow on tiny data: what it builds, and that a second call has nothing to do."""

import shutil
import socket

import pytest
from conftest import Project
from crate_rules import check_crate

from imagewright.files import sha256

STAGES = ["fetch", "index", "tensors", "train", "select", "evaluate", "export", "gate"]


def test_every_stage_builds_and_the_gate_passes(built: Project) -> None:
    for experiment in ("digits8", "shapes"):
        bundle = built.json(f"results/bundle/{experiment}/bundle.json")
        gate = built.json(f"results/gate/{experiment}/gate.json")
        assert gate["passed"] is True
        assert set(gate["runtimes"]) == {"torch", "onnx", "int8", "http"}
        assert bundle["default_runtime"] in bundle["runtimes"]
        assert set(bundle["fingerprints"]) == {
            *("data", "split", "tensors", "config", "code", "environment", "weights", "onnx"),
        }


def test_second_call_has_nothing_to_do(built: Project) -> None:
    done = built.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


@pytest.mark.parametrize("experiment", ["digits8", "shapes"])
def test_the_record_has_every_stage(built: Project, experiment: str) -> None:
    record = built.json(f"results/bundle/{experiment}/record.json")
    assert [job["stage"] for job in record["stages"]] == STAGES
    for job in record["stages"]:
        assert job["seconds"] > 0 and job["peak_memory_mb"] > 1, job
    assert record["bundle"] == built.json(f"results/bundle/{experiment}/bundle.json")["id"]
    assert record["hardware"]["training"]["threads"] == 2 and record["hardware"]["bundling"]["cpu"]


@pytest.mark.parametrize("experiment", ["digits8", "shapes"])
def test_a_bundle_is_a_workflow_run_crate(built: Project, experiment: str) -> None:
    folder = built.root / "results/bundle" / experiment
    crate = check_crate(folder)
    text = (folder / "ro-crate-metadata.json").read_text() + (folder / "record.json").read_text()
    assert str(built.root) not in text and socket.gethostname() not in text
    # What the model says of itself agrees with what the crate says of it, and does not hash what tells of the run.
    hashes = built.json(f"results/bundle/{experiment}/bundle.json")["files"]
    assert {name: crate.get(name)["sha256"] for name in hashes} == hashes
    assert {path.name for path in folder.iterdir()} - set(hashes) == {
        *("bundle.json", "card.md", "record.json", "ro-crate-metadata.json", "Snakefile"),
    }


def bundle_again(project: Project) -> None:
    done = project.snakemake("--forcerun", "bundle", "--", "report_all")
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_commit_is_recorded_and_edits_are_told(project: Project) -> None:
    bundle = project.root / "results/bundle/digits8/bundle.json"
    before = sha256(bundle)
    (project.root / ".gitignore").write_text("/results/\n/data/\n/logs/\n/runs/\n.snakemake/\n__pycache__/\n")
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "First"]):
        assert project.run("git", *identity, *command).returncode == 0
    commit = project.run("git", "rev-parse", "HEAD").stdout.strip()
    # A commit alone is no reason to run anything.
    assert project.planned() == set()

    bundle_again(project)
    record = project.json("results/bundle/digits8/record.json")
    assert (record["commit"], record["dirty"]) == (commit, False)
    page = (project.root / "results/report/summary.html").read_text()
    assert commit in page and "uncommitted" not in page

    (project.root / "config/workflow.yaml").open("a").write("# An edit.\n")
    bundle_again(project)
    record = project.json("results/bundle/digits8/record.json")
    assert (record["commit"], record["dirty"]) == (commit, True)
    assert "with uncommitted changes" in (project.root / "results/report/summary.html").read_text()
    assert f"`{commit}`, with uncommitted changes" in (project.root / "results/bundle/digits8/card.md").read_text()
    # The model is the same, so its name and all that it says of itself are.
    assert sha256(bundle) == before


def test_the_page_needs_nothing_but_results(project: Project) -> None:
    # After a pull there is no metadata of Snakemake's and no log, and the times are still to be seen.
    page = project.root / "results/report/summary.html"
    before = page.read_text()
    train = next(job for job in project.json("results/bundle/shapes/record.json")["stages"] if job["stage"] == "train")
    assert f"<td>{train['seconds']:.1f} s</td>" in before
    for name in (".snakemake", "logs"):
        shutil.rmtree(project.root / name)
    page.unlink()
    done = project.snakemake("--", "report_all")
    assert done.returncode == 0, done.stdout[-3000:]
    assert page.read_text() == before


@pytest.mark.slow
def test_a_runtime_beyond_its_limits_is_left_out_or_stops_the_run(project: Project) -> None:
    path, limit = "config/experiment/digits8.yaml", "    max_metric_drop: 0.5\n"
    project.edit(path, limit, f"{limit}    max_abs_diff: 0\n")
    done = project.snakemake("bundle_all", "--config", "experiments=digits8")
    assert done.returncode == 0, done.stdout[-3000:]
    gate, bundle = (project.json(f"results/bundle/digits8/{name}.json") for name in ("gate", "bundle"))
    assert gate["passed"] and gate["reasons"] == [] and not gate["runtimes"]["int8"]["passed"]
    (why,) = gate["left_out"]["int8"]
    assert "over gate.int8.max_abs_diff (0" in why
    assert (bundle["default_runtime"], set(bundle["runtimes"])) == ("onnx", {"onnx"})
    project.edit(path, "    max_abs_diff: 0\n", "    max_abs_diff: 0\n    required: true\n")
    done = project.snakemake("bundle_all", "--config", "experiments=digits8")
    assert done.returncode != 0 and f"error: the gate says no: {why}" in done.stdout
