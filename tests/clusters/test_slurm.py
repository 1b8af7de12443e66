"""The workflow on a real Slurm of two virtual nodes: where jobs go, what they ask for, how failures are told."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Project, make_project
from slurm_cluster import Slurm, missing, slurm

pytestmark = pytest.mark.slow

# As the profile says, but for a cluster that is asked every second, and has no accounting.
TYPED = (
    sys.executable, str(Path(__file__).parents[1] / "eager_snakemake.py"), "--profile", "slurm",
    "--config", "experiments=digits8", "--slurm-status-command", "squeue", "--latency-wait", "10",
)  # fmt: skip
Running = tuple[Project, "subprocess.Popen[bytes]"]
ON_GPU = {"train", "evaluate"}
OVERDUE_S = 400
PATIENCE_S = 60


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    if absent := missing():
        problem = f"not installed: {', '.join(absent)}; as root: apt-get install slurm-wlm slurm-client munge"
        # In CI, what is not there is a failure: else nobody would notice that it is never tested.
        (pytest.fail if "CI" in os.environ else pytest.skip)(problem)
    # A short path, since that of a socket may have 108 letters.
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder, slurm(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def overdue(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A training that will take longer than the two minutes it asks for; started first, since that takes a while."""
    project = replace(make_project(tmp_path_factory.mktemp("overdue") / "project"), variables=cluster.variables)
    project.edit("config/experiment/digits8.yaml", "epochs: 6", "epochs: 100000")
    process = project.start("nice", "-n", "19", *TYPED, "--set-resources", "train:runtime=2")
    yield project, process
    process.kill()
    process.wait()


@pytest.fixture
def on_slurm(unbuilt: Project, cluster: Slurm) -> Project:
    return replace(unbuilt, variables=cluster.variables)


def rule_of(job: dict[str, str]) -> str:
    found = re.match(r"rule_(\w+?)(_wildcards_|$)", job["Comment"])
    assert found
    return found.group(1)


def test_from_raw_images_to_a_bundle(overdue: Running, on_slurm: Project, cluster: Slurm) -> None:
    done = on_slurm.run(*TYPED)
    assert done.returncode == 0, done.stdout[-4000:]
    jobs = {rule_of(job): job for job in cluster.jobs() if job["WorkDir"] == str(on_slurm.root)}
    # `fetch` needs the network and the last two need a second, so they run where Snakemake does.
    assert set(jobs) == {"index", "tensors", "train", "select", "evaluate", "export", "gate"}
    for rule, job in jobs.items():
        where = ("gpu", "gpu1", "gres:gpu:1") if rule in ON_GPU else ("cpu", "cpu1", None)
        assert (job["Partition"], job["NodeList"], job.get("TresPerJob")) == where, rule
        assert job["JobState"] == "COMPLETED"
    # As the rules say.
    assert (jobs["train"]["TRES"], jobs["train"]["TimeLimit"]) == ("cpu=2,mem=8000M,node=1,billing=2", "12:00:00")
    assert (jobs["index"]["TRES"], jobs["index"]["TimeLimit"]) == ("cpu=4,mem=4000M,node=1,billing=4", "02:00:00")
    assert on_slurm.json("results/bundle/digits8/bundle.json")["default_runtime"]
    # Neither here nor there is anything left.
    assert "Nothing to be done" in on_slurm.run(*TYPED).stdout
    assert on_slurm.planned("--config", "experiments=digits8") == set()


def test_a_job_that_fails(on_slurm: Project) -> None:
    for path in sorted((on_slurm.root / "data/raw/digits8/3").iterdir())[1:]:
        path.unlink()
    done = on_slurm.run(*TYPED)
    assert done.returncode == 1
    said = done.stdout[done.stdout.rindex("\nerror: ") :]
    assert "digits8" in said and "'3'" in said and "(from logs/index/digits8/job.log)" in said
    assert not (on_slurm.root / "results/index/digits8/index.parquet").exists()


def test_a_job_over_its_memory(on_slurm: Project) -> None:
    done = on_slurm.run(*TYPED, "--set-resources", "index:mem_mb=60")
    assert done.returncode == 1
    assert "error: index: Slurm ended the job, since it needed more memory than it had asked for" in done.stdout
    assert "--set-resources index:mem_mb=" in done.stdout


def test_ctrl_c_cancels_the_jobs(on_slurm: Project, cluster: Slurm) -> None:
    def states() -> set[str]:
        return {job["JobState"] for job in cluster.jobs() if job["WorkDir"] == str(on_slurm.root)}

    # Not the eager one: Snakemake takes no job for running while it looks at them, and would cancel none.
    process = on_slurm.start("snakemake", *TYPED[2:], "--slurm-init-seconds-before-status-checks", "5")
    wait_until(lambda: "has been submitted" in (on_slurm.root / "printed.log").read_text())
    wait_until(lambda: "RUNNING" in states())
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1
    wait_until(lambda: states() == {"CANCELLED"})


def wait_until(it_is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not it_is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def test_a_job_over_its_time(overdue: Running) -> None:
    project, process = overdue
    assert process.wait(OVERDUE_S) == 1
    printed = (project.root / "printed.log").read_text()
    assert "error: train: Slurm ended the job, since it needed more time than it had asked for" in printed
    assert "SLURM status is: 'TIMEOUT'" in printed
    assert "--set-resources train:runtime=" in printed
    # What it had learned is kept.
    assert list((project.root / "runs/train/digits8/default").iterdir())
