"""`snakemake --profile gcp` on loopback: a Batch service whose VMs start empty, and a bucket between them and us."""

import json
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import torch
from batch_service import PREEMPTED, BatchService, batch_service
from clones import BUCKET, clone, git, is_clean, messages, publish, run
from conftest import Project, make_project
from google.cloud import batch_v1
from wandb_files import read_runs

from imagewright.files import sha256

pytestmark = pytest.mark.slow

LOOPBACK = Path(__file__).parents[1] / "google_on_loopback"
# As the profile says, but the service is asked more often than Google should be.
TYPED = ("snakemake", "--profile", "gcp", "--config", "experiments=digits8", "--seconds-between-status-checks", "1")
IMAGE = "europe-docker.pkg.dev/our-project/imagewright/runner:1"
ACCOUNT = "imagewright-vm@our-project.iam.gserviceaccount.com"
PATIENCE_S = 60
ON_GPU = {"train", "evaluate"}
Model = batch_v1.AllocationPolicy.ProvisioningModel


@pytest.fixture
def service(tmp_path: Path, endpoint: str) -> Iterator[BatchService]:
    (tmp_path / "vms").mkdir()
    with batch_service(tmp_path / "vms", runs=True) as running:
        running.variables = {"STORAGE_EMULATOR_HOST": endpoint, "PYTHONPATH": "", "IMAGEWRIGHT_KEEP_EVERY_S": "0.2"}
        yield running


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("published") / "project")
    project.edit("config/experiment/digits8.yaml", "epochs: 6", "epochs: 6\n  checkpoint_steps: 5")
    project.edit("config/experiment/digits8.yaml", "/tracking: disabled", "/tracking: offline")
    publish(project)
    return project


@pytest.fixture
def cloned(published: Project, service: BatchService, endpoint: str, tmp_path: Path) -> Project:
    """A fresh clone of somebody who has the images, and is logged in."""
    project = clone(published, tmp_path / "clone")
    shutil.copytree(published.root / "data/raw", project.root / "data/raw")
    settings = {
        "PROJECT": "our-project",
        "REGION": "europe-west4",
        "STORE": f"gs://{BUCKET}/{tmp_path.name}",
        "CONTAINER": IMAGE,
        "SERVICE_ACCOUNT": ACCOUNT,
    }
    loopback = {
        "PYTHONPATH": str(LOOPBACK),
        "BATCH_EMULATOR_HOST": service.address,
        "BATCH_EMULATOR_LOGS": str(service.folder),
        "STORAGE_EMULATOR_HOST": endpoint,
        "GOOGLE_CLOUD_PROJECT": "our-project",
    }
    told = {f"SNAKEMAKE_IMAGEWRIGHT_BATCH_{name}": value for name, value in settings.items()}
    return replace(project, variables=loopback | told)


def sent(service: BatchService) -> dict[str, batch_v1.Job]:
    """The jobs that arrived, by rule; each as Google's own description of a request has it."""
    for request in service.requests:
        text = batch_v1.CreateJobRequest.to_json(request)
        assert batch_v1.CreateJobRequest.from_json(text, ignore_unknown_fields=False) == request
    return {request.job.labels["rule"]: request.job for request in service.requests}


def test_from_raw_images_to_a_bundle(cloned: Project, service: BatchService, built: Project) -> None:
    # A network that is away for a moment costs nothing.
    service.hiccups = 2
    done = cloned.run(*TYPED)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Google Batch does not answer, and is asked again" in done.stdout
    jobs = sent(service)
    # What is done in a second, or needs what only this machine has, is done here.
    assert set(jobs) == {"index", "tensors", "train", "select", "evaluate", "export", "gate"}
    commit = git(cloned, "rev-parse", "HEAD").strip()
    for rule, job in jobs.items():
        task, allocation = job.task_groups[0].task_spec, job.allocation_policy.instances[0]
        on_gpu = rule in ON_GPU
        cards = [(card.type_, card.count) for card in allocation.policy.accelerators]
        assert cards == ([("nvidia-l4", 1)] if on_gpu else []), rule
        assert allocation.install_gpu_drivers == on_gpu
        assert (allocation.policy.provisioning_model == Model.SPOT) == on_gpu
        assert task.runnables[-1].container.image_uri == IMAGE
        assert job.allocation_policy.service_account.email == ACCOUNT
        assert job.labels["commit"] == commit
    asked = {rule: job.task_groups[0].task_spec.compute_resource for rule, job in jobs.items()}
    assert (asked["index"].cpu_milli, asked["index"].memory_mib) == (4000, 4000)
    assert (asked["train"].cpu_milli, asked["train"].memory_mib) == (2000, 8000)
    types = {rule: job.allocation_policy.instances[0].policy.machine_type for rule, job in jobs.items()}
    assert (types["index"], types["train"], types["select"]) == ("e2-standard-4", "g2-standard-4", "e2-standard-2")
    assert jobs["train"].labels["experiment"] == jobs["evaluate"].labels["experiment"] == "digits8"
    assert jobs["index"].labels["data"] == "digits8"
    # It is the model that this machine makes by itself.
    weights = "results/select/digits8/model.safetensors"
    assert sha256(cloned.root / weights) == sha256(built.root / weights)
    record = cloned.json("results/bundle/digits8/record.json")
    assert record["commit"] == commit and record["dirty"] is False
    # How long each stage took, and on what, has come back with its results.
    assert {stage["stage"] for stage in record["stages"]} >= {*jobs, "fetch"}
    # So have the runs of Weights & Biases.
    assert {run.job for run in read_runs(cloned.root / "runs/wandb")} >= {"train", "evaluate"}
    # Neither there nor here is there anything left, and DVC takes it as it is.
    assert "Nothing to be done" in cloned.run(*TYPED).stdout
    assert cloned.planned("--config", "experiments=digits8") == set()
    assert len(service.requests) == len(jobs)
    cloned.edit("config/workflow.yaml", "- shapes\n", "")
    assert messages(run(cloned, "dvc", "repro")) == set()
    assert is_clean(cloned)


def test_a_training_that_loses_its_vm_goes_on(
    cloned: Project, service: BatchService, endpoint: str, built: Project
) -> None:
    kept: list[bytes] = []

    def ends(job: batch_v1.Job) -> int | None:
        if job.labels["rule"] == "train" and not kept:
            kept.extend(objects(endpoint, f"{cloned.root.parent.name}/checkpoints/", "last.pt"))
            return PREEMPTED if kept else None
        return None

    service.ends = ends
    done = cloned.run(*TYPED, "--", "train_all")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Its spot VM was taken away" in done.stdout
    assert [request.job.labels["rule"] for request in service.requests].count("train") == 2
    (cloned.root / "last.pt").write_bytes(kept[0])
    steps = torch.load(cloned.root / "last.pt", weights_only=True)["steps"]
    trial = cloned.json("results/train/digits8/default/trial.json")
    # The VM may have kept another checkpoint before it was gone.
    (resumed,) = trial["resumed_from"]
    assert 0 < steps <= resumed < trial["steps"]
    assert trial["steps_executed"] == trial["steps"] - resumed
    assert f"train: resumed from step {resumed}" in (cloned.root / "logs/train/digits8/default/job.log").read_text()
    weights = "results/train/digits8/default/model.safetensors"
    assert sha256(cloned.root / weights) == sha256(built.root / weights)
    # Nobody will need it again.
    assert objects(endpoint, f"{cloned.root.parent.name}/checkpoints/", "last.pt") == []


def test_a_job_that_fails(cloned: Project, service: BatchService) -> None:
    for path in sorted((cloned.root / "data/raw/digits8/3").iterdir())[1:]:
        path.unlink()
    done = cloned.run(*TYPED)
    assert done.returncode == 1
    said = done.stdout[done.stdout.rindex("\nerror: ") :]
    assert "digits8" in said and "'3'" in said and "(from logs/index/digits8/job.log)" in said
    assert len(service.requests) == 1
    assert not (cloned.root / "results/index/digits8/index.parquet").exists()


@pytest.mark.parametrize(("limit", "resource"), [("time", "runtime"), ("memory", "mem_mb")])
def test_a_job_over_its_limit(cloned: Project, service: BatchService, limit: str, resource: str) -> None:
    if limit == "memory":
        # What the kernel does to a process; Batch tells the exit code.
        service.ends = lambda job: 128 + signal.SIGKILL
    done = cloned.run(*TYPED, "--set-resources", "index:googlebatch_max_run_duration=2s")
    assert done.returncode == 1 and len(service.requests) == 1
    said = done.stdout[done.stdout.rindex("\nerror: ") :]
    assert f"error: index: Google Batch ended the job, since it needed more {limit} than it had asked for" in said
    assert f"--set-resources index:{resource}=" in said


def test_ctrl_c_deletes_the_jobs(cloned: Project, service: BatchService) -> None:
    process = cloned.start(*TYPED)
    end = time.monotonic() + PATIENCE_S
    # Not as soon as the service has it: Snakemake has to know of it as well.
    while "has state RUNNING" not in (cloned.root / "printed.log").read_text():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1
    (request,) = service.requests
    assert service.deleted == [f"{request.parent}/jobs/{request.job_id}"], (cloned.root / "printed.log").read_text()


def test_a_job_that_somebody_deleted(cloned: Project, service: BatchService) -> None:
    service.ends = lambda job: service.forget("index")
    done = cloned.run(*TYPED)
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "Somebody has deleted it" in done.stdout


def test_a_file_that_git_does_not_track(cloned: Project, service: BatchService) -> None:
    shutil.copy(cloned.root / "config/experiment/digits8.yaml", cloned.root / "config/experiment/new.yaml")
    done = cloned.run(*TYPED)
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "error: config/experiment/new.yaml is not tracked by Git" in done.stdout
    assert "git add config/experiment/new.yaml" in done.stdout
    assert not service.requests
    # Committed it need not be: what is sent are the files as they are here.
    git(cloned, "add", "config/experiment/new.yaml")
    done = cloned.run(*TYPED[:3], "--config", "experiments=new", *TYPED[5:], "--", "index_all")
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_machine_is_large_enough(cloned: Project, service: BatchService) -> None:
    done = cloned.run(*TYPED, "--set-resources", "index:mem_mb=900000")
    assert done.returncode == 1 and not service.requests
    assert "error: index: no machine type has 4 CPUs, 900000 MB of memory" in done.stdout
    assert "workflow/profiles/gcp/machines.yaml" in done.stdout


def test_a_plan_needs_no_credentials(cloned: Project) -> None:
    given = {name: value for name, value in cloned.variables.items() if name.startswith("SNAKEMAKE_")}
    stranger = replace(cloned, variables={**given, "HOME": str(cloned.root), "NO_GCE_CHECK": "true"})
    done = stranger.run(*TYPED, "-n")
    assert done.returncode == 0
    assert done.stdout.count("there are no Google Cloud credentials") == 1
    assert "gcloud auth application-default login" in done.stdout
    assert "Train digits8, trial default" in done.stdout
    done = stranger.run(*TYPED)
    assert done.returncode == 1 and "error: there are no Google Cloud credentials" in done.stdout
    done = replace(stranger, variables={"HOME": str(cloned.root), "NO_GCE_CHECK": "true"}).run(*TYPED, "-n")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    for name in ("PROJECT", "REGION", "STORE", "CONTAINER", "SERVICE_ACCOUNT"):
        assert f"SNAKEMAKE_IMAGEWRIGHT_BATCH_{name}" in done.stdout


def test_the_profile_without_its_link(cloned: Project) -> None:
    (cloned.root / "gcp").unlink()
    done = cloned.run("snakemake", "--profile", "workflow/profiles/gcp", "--config", "experiments=digits8", "-n")
    assert done.returncode == 0 and "Train digits8, trial default" in done.stdout


def objects(endpoint: str, prefix: str, name: str) -> list[bytes]:
    """What is in the bucket under names that start and end like these."""
    address = f"{endpoint}/storage/v1/b/{BUCKET}/o"
    with urllib.request.urlopen(f"{address}?prefix={quote(prefix, safe='')}", timeout=10) as response:
        found = [item["name"] for item in json.load(response).get("items", [])]
    contents = []
    for one in found:
        if one.endswith(f"/{name}"):
            with urllib.request.urlopen(f"{endpoint}/{BUCKET}/{quote(one)}", timeout=10) as response:
                contents.append(response.read())
    return contents
