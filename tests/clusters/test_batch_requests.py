"""What Google Batch is asked for: by Snakemake's plugin, and by our corrections of it.

The requests are those that arrive at a service on loopback, which speaks Batch's protocol.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from batch_service import WORK, BatchService, batch_service
from clones import BUCKET
from google.cloud import batch_v1

pytestmark = pytest.mark.slow

LOOPBACK = Path(__file__).parents[1] / "google_on_loopback"
SOURCE = Path(__file__).parents[2] / "src"
SNAKEFILE = """
rule all:
    input: "plain/digits.txt", "card/digits.txt"

rule plain:
    output: "plain/{experiment}.txt"
    threads: 4
    # The plugin has a name of its own for the size of the disk.
    resources: mem_mb=6000, runtime=300, disk_mb=50000, googlebatch_boot_disk_gb=50
    shell: "touch {output}"

rule card:
    output: "card/{experiment}.txt"
    # Snakemake's names, and what the plugin reads in their place.
    resources: mem_mb=8000, runtime=60, gpu=2, gpu_model="nvidia-tesla-t4", nvidia_gpu="nvidia-tesla-t4"
    shell: "touch {output}"
"""
TIMEOUT_S = 120
LOOK_S = 3
Sent = dict[str, batch_v1.Job]
Policy = batch_v1.AllocationPolicy


def start(folder: Path, executor: str, **variables: str) -> "subprocess.Popen[str]":
    """Send both jobs of the little workflow; Ctrl-C is heard, also where these tests run in the background."""
    (folder / "Snakefile").write_text(SNAKEFILE)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "add", "Snakefile"], check=True)
    settings = {
        "project": "our-project", "region": "europe-west4", "image-family": "batch-cos-stable-official",
        "image-project": "batch-custom-image", "container": "europe-docker.pkg.dev/our-project/imagewright/runner:1",
        "service-account": "imagewright-vm@our-project.iam.gserviceaccount.com",
    }  # fmt: skip
    files = {
        "imagewright-batch": ("--imagewright-batch-store", f"gs://{BUCKET}/requests"),
        "googlebatch": (
            "--default-storage-provider", "gcs", "--default-storage-prefix", f"gs://{BUCKET}/{executor}",
            "--storage-gcs-project", "our-project",
        ),
    }  # fmt: skip
    command = [
        "env", "--default-signal=INT", sys.executable, "-m", "snakemake", "--executor", executor,
        "--jobs", "4", "--keep-going", "--seconds-between-status-checks", "1",
        "--preemptible-rules", "card", "--preemptible-retries", "3",
        *(part for name, value in settings.items() for part in (f"--{executor}-{name}", value)), *files[executor],
    ]  # fmt: skip
    given = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_GCE_CHECK": "true", "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(
        command, cwd=folder, env=given | variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def snakemake(folder: Path, executor: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Send both jobs, and wait until they have ended."""
    process = start(folder, executor, **variables)
    try:
        printed, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, printed)


def on_loopback(service: BatchService, endpoint: str) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{LOOPBACK}{os.pathsep}{SOURCE}",
        "BATCH_EMULATOR_HOST": service.address,
        "BATCH_EMULATOR_LOGS": str(service.folder),
        "STORAGE_EMULATOR_HOST": endpoint,
        "GOOGLE_CLOUD_PROJECT": "our-project",
    }


def sent_by(executor: str, folder: Path, endpoint: str) -> Sent:
    (folder / "work").mkdir()
    with batch_service(folder, runs=False) as service:
        done = snakemake(folder / "work", executor, **on_loopback(service, endpoint))
    assert len(service.requests) >= 2, done.stdout[-3000:]
    for request in service.requests:
        # Nothing is in it that Google's own description of a request does not have.
        text = batch_v1.CreateJobRequest.to_json(request)
        assert batch_v1.CreateJobRequest.from_json(text, ignore_unknown_fields=False) == request
        assert request.parent == "projects/our-project/locations/europe-west4"
    return {request.job.labels["snakemake-job"]: request.job for request in service.requests}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Sent:
    return sent_by("imagewright-batch", tmp_path_factory.mktemp("ours"), endpoint)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Sent:
    return sent_by("googlebatch", tmp_path_factory.mktemp("plugins"), endpoint)


def task(job: batch_v1.Job) -> batch_v1.TaskSpec:
    return job.task_groups[0].task_spec


def instance(job: batch_v1.Job) -> batch_v1.AllocationPolicy.InstancePolicy:
    return job.allocation_policy.instances[0].policy


def container(job: batch_v1.Job) -> batch_v1.Runnable.Container:
    return next(part.container for part in task(job).runnables if part.container.image_uri)


CORRECTIONS: dict[str, Callable[[Sent], bool]] = {
    "CPUs": lambda sent: task(sent["plain"]).compute_resource.cpu_milli == 4000,
    "memory": lambda sent: task(sent["plain"]).compute_resource.memory_mib == 6000,
    "time limit": lambda sent: task(sent["plain"]).max_run_duration.total_seconds() == 300 * 60,
    "cards": lambda sent: (
        [(card.type_, card.count) for card in instance(sent["card"]).accelerators] == [("nvidia-tesla-t4", 2)]
    ),
    "image": lambda sent: (
        instance(sent["plain"]).boot_disk.image
        == "projects/batch-custom-image/global/images/family/batch-cos-stable-official"
    ),
    "driver": lambda sent: (
        "/var/lib/nvidia/lib64:/usr/local/nvidia/lib64" in container(sent["card"]).volumes
        and "--privileged" in container(sent["card"]).options
    ),
    "spot": lambda sent: instance(sent["card"]).provisioning_model == Policy.ProvisioningModel.SPOT,
    "restarts": lambda sent: task(sent["plain"]).max_retry_count == 0,
    "labels": lambda sent: (
        {"rule", "experiment", "commit"} <= set(sent["card"].labels) and sent["card"].labels["experiment"] == "digits"
    ),
}


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_correction_is_sent_and_is_needed(ours: Sent, plugins: Sent, correction: str) -> None:
    assert CORRECTIONS[correction](ours)
    # Where this fails, the plugin has been mended, and the correction can go.
    assert not CORRECTIONS[correction](plugins)


def test_a_rule_without_cards_gets_none(ours: Sent) -> None:
    plain = ours["plain"]
    assert not instance(plain).accelerators and not plain.allocation_policy.instances[0].install_gpu_drivers
    assert instance(plain).provisioning_model == Policy.ProvisioningModel.PROVISIONING_MODEL_UNSPECIFIED
    assert "nvidia" not in " ".join(container(plain).volumes) and "--privileged" not in container(plain).options
    assert instance(plain).boot_disk.size_gb == 50
    assert container(plain).image_uri == "europe-docker.pkg.dev/our-project/imagewright/runner:1"


def exit_code(job: batch_v1.Job, folder: Path, code: int) -> int:
    """What a VM makes of a job whose Snakemake ends with this code; pip works there."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name, ends_with in (("python", code), ("python3", 0)):
        (programs / name).write_text(f"#!/bin/sh\nexit {ends_with}\n")
        (programs / name).chmod(0o755)
    variables = {"PATH": f"{programs}:{os.environ['PATH']}"}
    setup = task(job).runnables[0].script.text.replace(WORK, str(folder))
    subprocess.run(["bash", "-c", setup], env=variables, check=True, stdout=subprocess.DEVNULL)
    run = [container(job).entrypoint, *(part.replace(WORK, str(folder)) for part in container(job).commands)]
    return subprocess.run(run, env=variables, check=False).returncode


def test_a_job_that_fails_has_failed(ours: Sent, plugins: Sent, tmp_path: Path) -> None:
    assert exit_code(ours["plain"], tmp_path / "ours", 3) == 3
    assert exit_code(ours["plain"], tmp_path / "well", 0) == 0
    assert exit_code(plugins["plain"], tmp_path / "plugins", 3) == 0


def models_of_card(folder: Path, endpoint: str, executor: str, preempted: int) -> list[str]:
    """On which VMs the job with cards was tried, one after the other."""
    folder.mkdir()
    (folder / "work").mkdir()
    with batch_service(folder, runs=False) as service:
        service.preempted = preempted
        snakemake(folder / "work", executor, **on_loopback(service, endpoint))
    jobs = [request.job for request in service.requests if request.job.labels["snakemake-job"] == "card"]
    return [instance(job).provisioning_model.name for job in jobs]


def test_spot_then_on_demand(tmp_path: Path, endpoint: str) -> None:
    # The last attempt fails by itself, and so does the first in the other run: nothing is started again then.
    tried = models_of_card(tmp_path / "lost", endpoint, "imagewright-batch", preempted=3)
    assert tried == ["SPOT", "SPOT", "SPOT", "PROVISIONING_MODEL_UNSPECIFIED"]
    assert models_of_card(tmp_path / "failed", endpoint, "imagewright-batch", preempted=0) == ["SPOT"]
    # The plugin never leaves the kind of VM that is taken away.
    assert set(models_of_card(tmp_path / "plugin", endpoint, "googlebatch", preempted=0)) == {"PREEMPTIBLE"}


def left_after_ctrl_c(
    folder: Path, endpoint: str, executor: str, refusal: tuple[grpc.StatusCode, str] | None = None
) -> tuple[set[str], str]:
    """Which jobs go on where somebody presses Ctrl-C while Snakemake looks at them, and what it says."""
    (folder / "work").mkdir(parents=True)
    with batch_service(folder, runs=False) as service:
        service.stays = True
        process = start(folder / "work", executor, **on_loopback(service, endpoint))

        def asked() -> None:
            if len(service.requests) == 2:
                service.asked, service.refusal = lambda: None, refusal
                process.send_signal(signal.SIGINT)
                time.sleep(LOOK_S)

        service.asked = asked
        try:
            printed, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert process.returncode == 1
    sent = {f"{request.parent}/jobs/{request.job_id}" for request in service.requests}
    return sent.difference(service.deleted), printed


def test_ctrl_c_leaves_no_job(tmp_path: Path, endpoint: str) -> None:
    assert left_after_ctrl_c(tmp_path / "ours", endpoint, "imagewright-batch")[0] == set()
    assert left_after_ctrl_c(tmp_path / "plugins", endpoint, "googlebatch")[0]
    refusal = (grpc.StatusCode.PERMISSION_DENIED, "not yours")
    left, printed = left_after_ctrl_c(tmp_path / "refused", endpoint, "imagewright-batch", refusal)
    assert len(left) == 2
    for name in left:
        assert f"error: {name} goes on: 403 not yours\n  delete it: gcloud batch jobs delete {name}" in printed


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[BatchService]:
    with batch_service(tmp_path, runs=False) as service:
        yield service


@pytest.mark.parametrize(
    ("status", "words", "remedy"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Quota NVIDIA_L4_GPUS exceeded", "iam-admin/quotas"),
        (grpc.StatusCode.PERMISSION_DENIED, "Permission batch.jobs.create denied", "roles/batch.jobsEditor"),
        (grpc.StatusCode.NOT_FOUND, "Project our-project was not found", "SNAKEMAKE_IMAGEWRIGHT_BATCH_PROJECT"),
    ],
    ids=["quota", "role", "project"],
)
def test_a_refusal_is_told(
    refusing: BatchService, endpoint: str, tmp_path: Path, status: grpc.StatusCode, words: str, remedy: str
) -> None:
    refusing.refusal = (status, words)
    (tmp_path / "work").mkdir()
    done = snakemake(tmp_path / "work", "imagewright-batch", **on_loopback(refusing, endpoint))
    assert done.returncode == 1
    assert f"error: Google Batch refused a job in projects/our-project/locations/europe-west4: {words}" in done.stdout
    assert remedy in done.stdout and "Traceback" not in done.stdout


def test_nobody_is_logged_in(tmp_path: Path, endpoint: str) -> None:
    done = snakemake(tmp_path, "imagewright-batch", STORAGE_EMULATOR_HOST=endpoint)
    assert done.returncode == 1
    assert "error: there are no Google Cloud credentials" in done.stdout
    assert "gcloud auth application-default login" in done.stdout and "Traceback" not in done.stdout
