"""Google Batch's protocol on loopback, for a test: what is sent is kept; a job runs on a pretended VM, if at all."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from google.cloud import batch_v1
from google.longrunning import operations_pb2
from google.protobuf.any_pb2 import Any as Any_
from google.protobuf.empty_pb2 import Empty

NAME = "google.cloud.batch.v1.BatchService"
WORK = "/tmp/workdir"
"""Where a job finds its script, on a VM; each pretended VM has a folder of its own instead."""
LOOK_S = 0.05
State = batch_v1.JobStatus.State
Model = batch_v1.AllocationPolicy.ProvisioningModel
PREEMPTED, OVERTIME = 50001, 50005
REASONS = {PREEMPTED: " due to Spot VM preemption", OVERTIME: " due to exceeding the maximum run duration"}
ENDED = (
    "Job state is set from RUNNING to FAILED. Job failed due to task failure. Specifically, task with index 0 failed "
    "due to the following task event: Task state is updated from RUNNING to FAILED{reason} with exit code {code}."
)


class BatchService:
    """The service.

    Attributes:
        address: for `BATCH_EMULATOR_HOST`.
        requests: every CreateJobRequest, as it arrived.
        deleted: the names of jobs that were to end.
        hiccups: so many questions about jobs get an error.
        asked: called before the state of a job is told.
        stays: whether jobs that do not run stay in the queue.
        refusal: what CreateJob and DeleteJob answer instead, if anything.
        preempted: so many jobs that ask for a spot VM lose it at once.
        variables: what the VMs have in their environment, beside what this process has.
        ends: says of a running job whether it is to be ended now, and with which exit code.
    """

    def __init__(self, folder: Path, runs: bool) -> None:
        self.folder, self.runs = folder, runs
        self.preempted = 0
        self.hiccups = 0
        self.asked: Callable[[], None] = lambda: None
        self.stays = False
        self.variables: dict[str, str] = {}
        self.ends: Callable[[batch_v1.Job], int | None] = lambda job: None
        self.requests: list[batch_v1.CreateJobRequest] = []
        self.deleted: list[str] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.address = ""
        self._jobs: dict[str, batch_v1.Job] = {}

    def create(self, request: batch_v1.CreateJobRequest, context: grpc.ServicerContext) -> batch_v1.Job:
        """Keep the request, and start the job."""
        if self.refusal:
            context.abort(*self.refusal)
        self.requests.append(request)
        job = batch_v1.Job(request.job)
        job.name, job.uid = f"{request.parent}/jobs/{request.job_id}", f"u-{uuid.uuid4().hex[:12]}"
        job.status = batch_v1.JobStatus(state=State.QUEUED)
        self._jobs[job.name] = job
        if _is_spot(job) and self.preempted:
            self.preempted -= 1
            _end(job, PREEMPTED)
        elif self.runs:
            threading.Thread(target=self._run, args=(job,), daemon=True).start()
        elif not self.stays:
            _end(job, 1)
        return job

    def get(self, request: batch_v1.GetJobRequest, context: grpc.ServicerContext) -> batch_v1.Job:
        """A job, with its state."""
        if self.hiccups:
            self.hiccups -= 1
            context.abort(grpc.StatusCode.INTERNAL, "hiccup")
        if request.name not in self._jobs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.name} was not found")
        self.asked()
        return self._jobs[request.name]

    def forget(self, rule: str) -> None:
        """Delete the jobs of a rule, as a person may."""
        for name in [name for name, job in self._jobs.items() if job.labels["rule"] == rule]:
            self.deleted.append(name)
            del self._jobs[name]

    def delete(self, request: batch_v1.DeleteJobRequest, context: grpc.ServicerContext) -> Any:
        """End a job."""
        if self.refusal:
            context.abort(*self.refusal)
        self.deleted.append(request.name)
        response = Any_()
        response.Pack(Empty())
        return operations_pb2.Operation(name="deleted", done=True, response=response)

    def _run(self, job: batch_v1.Job) -> None:
        job.status.state = State.RUNNING
        vm = Path(tempfile.mkdtemp(prefix="vm-", dir=self.folder))
        code = 0
        with (self.folder / f"{job.uid}.log").open("w") as log:
            for runnable in job.task_groups[0].task_spec.runnables:
                if command := command_of(runnable, vm):
                    variables = {**os.environ, **self.variables, **runnable.environment.variables}
                    # `python` of the image is this one's, and temporary files are on the VM.
                    variables |= {"BATCH_JOB_UID": job.uid, "TMPDIR": str(vm)}
                    variables["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
                    process = subprocess.Popen(
                        command, cwd=vm, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                    )
                    over = time.monotonic() + job.task_groups[0].task_spec.max_run_duration.total_seconds()
                    ended = None
                    while process.poll() is None and ended is None:
                        ended = OVERTIME if time.monotonic() > over else self.ends(job)
                        if job.name in self.deleted:
                            ended = -signal.SIGKILL
                        time.sleep(LOOK_S)
                    if ended:
                        with suppress(ProcessLookupError):
                            os.killpg(process.pid, signal.SIGKILL)
                        process.wait()
                    if code := ended or process.returncode:
                        break
        shutil.rmtree(vm)
        if code:
            _end(job, code)
        else:
            job.status.state = State.SUCCEEDED


def _is_spot(job: batch_v1.Job) -> bool:
    return job.allocation_policy.instances[0].policy.provisioning_model == Model.SPOT


def _end(job: batch_v1.Job, code: int) -> None:
    told = ENDED.format(reason=REASONS.get(code, ""), code=code)
    job.status.status_events = [
        batch_v1.StatusEvent(type_="STATUS_CHANGED", description=told, event_time=datetime.now(UTC))
    ]
    job.status.state = State.FAILED


def command_of(runnable: batch_v1.Runnable, vm: Path) -> list[str]:
    """How a VM runs a part of a task; nothing for a barrier."""
    if runnable.script.text:
        return ["bash", "-c", runnable.script.text.replace(WORK, str(vm))]
    if runnable.container.image_uri:
        container = runnable.container
        return [container.entrypoint, *(part.replace(WORK, str(vm)) for part in container.commands)]
    return []


@contextmanager
def batch_service(folder: Path, runs: bool) -> Iterator[BatchService]:
    """Serve on a free port of 127.0.0.1.

    Args:
        folder: for the pretended VMs, and for their logs.
        runs: whether jobs run; else they fail at once, or stay in the queue where `stays` is set.
    """
    service = BatchService(folder, runs)
    job, operation = batch_v1.Job.serialize, operations_pb2.Operation.SerializeToString
    methods: dict[str, tuple[Callable[..., Any], Any, Any]] = {
        "CreateJob": (service.create, batch_v1.CreateJobRequest.deserialize, job),
        "GetJob": (service.get, batch_v1.GetJobRequest.deserialize, job),
        "DeleteJob": (service.delete, batch_v1.DeleteJobRequest.deserialize, operation),
    }
    handlers = {name: grpc.unary_unary_rpc_method_handler(*method) for name, method in methods.items()}
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        server.stop(grace=1).wait()
