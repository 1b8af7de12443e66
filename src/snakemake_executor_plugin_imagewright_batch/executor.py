"""Requests to Google Batch that ask for what the rules say, and the files that go with them.

Each method below corrects one thing of `GoogleBatchExecutor` 0.5.1 and can go when its repository
(snakemake/snakemake-executor-plugin-googlebatch) has corrected it; `tests/clusters/test_batch_requests.py` shows what
the uncorrected plugin sends.
"""

import contextlib
import io
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import google.auth
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, ResourceExhausted, RetryError
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import batch_v1
from snakemake_executor_plugin_googlebatch.executor import GoogleBatchExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor

from snakemake_executor_plugin_imagewright_batch.orders import Orders
from snakemake_executor_plugin_imagewright_batch.store import PROBLEMS

DRIVER = (
    "/var/lib/nvidia/lib64:/usr/local/nvidia/lib64",
    "/var/lib/nvidia/bin:/usr/local/nvidia/bin",
)
"""Where Container-Optimized OS has the driver, and where CUDA images look for it."""
PREEMPTED = 50001
"""The exit code that Batch gives a task whose spot VM was taken away."""
OVERTIME = 50005
"""The exit code of a task that ran longer than it had asked for."""
KILLED = 137
"""The exit code of a process that the system ended, which it does where memory is short."""
LABEL_LENGTH = 63
ENTRYPOINT = """\
#!/bin/bash
mkdir -p /tmp/workdir
cat <<'END_OF_ENTRYPOINT' > /tmp/workdir/entrypoint.sh
{script}END_OF_ENTRYPOINT
chmod +x /tmp/workdir/entrypoint.sh
"""


NOT_LOGGED_IN = (
    "there are no Google Cloud credentials, so no job can be sent\n"
    "  log in: gcloud auth application-default login; or see docs/clusters.md"
)


def logged_in() -> bool:
    """Whether there are application default credentials."""
    # Outside of Google's cloud, google-auth would ask three times, 12 s in all, for a service that is not there.
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")
    try:
        google.auth.default()
    except DefaultCredentialsError:
        return False
    return True


class Executor(GoogleBatchExecutor):
    """The plugin's executor, corrected."""

    def __post_init__(self) -> None:
        """Stop before anything is sent where nobody is logged in.

        Raises:
            WorkflowError: in two lines.
        """
        if not logged_in():
            raise WorkflowError(f"error: {NOT_LOGGED_IN}")
        super().__post_init__()
        # Not imported above: Snakemake imports every plugin when it starts, and the Snakefile decides which code runs.
        from imagewright.bundle.commit import code_state
        from imagewright.machines import Machines

        settings, snakefile = self.executor_settings, Path(self.workflow.main_snakefile)
        self.commit = code_state(snakefile).commit or ""
        with _in_two_lines():
            self.machines = Machines.read(Path(settings.machines)) if settings.machines else None
        self.orders = Orders(snakefile.parent, settings.store, self.logger.info)
        self.sent: dict[Any, str] = {}
        self.running: dict[str, SubmittedJobInfo] = {}
        self.logger: Any = _Once(self.logger)

    def get_param(self, job: Any, param: str) -> Any:
        """What a rule asks for, where the plugin reads only its own resources and defaults.

        CPUs from `threads`, memory from `mem_mb`, the disk from `disk_mb`, the time limit from `runtime`, the machine
        type from all of these. Batch itself starts nothing again: Snakemake does, and knows which attempt it is. A
        resource `googlebatch_<param>` still goes first.
        """
        from imagewright.machines import asked

        resources = job.resources
        value = {
            "cpu_milli": job.threads * 1000,
            "memory": resources.get("mem_mb"),
            "boot_disk_gb": -(-resources["disk_mb"] // 1000) if resources.get("disk_mb") else None,
            "max_run_duration": f"{resources['runtime'] * 60}s" if resources.get("runtime") else None,
            "retry_count": 0,
        }.get(param)
        given = resources.get(f"googlebatch_{param}")
        if given is not None:
            return given
        if param == "machine_type" and self.machines:
            with _in_two_lines(job.name):
                return self.machines.cheapest(*asked(resources, job.threads)).name
        return super().get_param(job, param) if value is None else value

    def get_labels(self, job: Any) -> dict[str, str]:
        """For the bill: rule, experiment (or data, or tensors) and commit, beside the labels of the profile."""
        labels = {"rule": job.name, "commit": self.commit or "unknown"}
        if not job.is_group():
            labels |= {name: value for name, value in job.wildcards.items() if name != "trial"}
        return {**super().get_labels(job), **{name: _label(value) for name, value in labels.items()}}

    def get_accelerators(self, job: Any) -> list[batch_v1.AllocationPolicy.Accelerator]:
        """`gpu` and `gpu_model`, which are Snakemake's names; the plugin reads `nvidia_gpu`."""
        count = int(job.resources.get("gpu") or 0)
        if not count:
            return []
        from imagewright.machines import DEFAULT_CARD

        card = job.resources.get("gpu_model") or DEFAULT_CARD
        return [batch_v1.AllocationPolicy.Accelerator(type_=card, count=count)]

    def get_boot_disk(self, job: Any) -> batch_v1.AllocationPolicy.Disk | None:
        """The image of the profile, which the plugin forgets where a size is given."""
        disk = super().get_boot_disk(job)
        if disk is not None and not disk.image:
            project, family = self.get_param(job, "image_project"), self.get_param(job, "image_family")
            disk.image = f"projects/{project}/global/images/family/{family}"
        return disk

    def get_container(self, job: Any, *given: Any, **named: Any) -> batch_v1.Runnable.Container | None:
        """The GPU's driver in the container: without it, the job would quietly run on the CPU."""
        container = super().get_container(job, *given, **named)
        if container is not None and self.get_accelerators(job):
            container.volumes = [*container.volumes, *DRIVER]
            container.options += " --privileged"
        return container

    def get_command_writer(self, job: Any) -> Any:
        """A script whose exit code is the job's.

        The plugin goes on with `pip install` after the command, so that a job that failed has succeeded, and lets the
        shell of the VM expand what stands in the script. The Snakefile comes with the job's sources.
        """
        writer = super().get_command_writer(job)
        order = self.sent[job] = self.orders.send(job, writer.command)
        script = ENTRYPOINT.format(script=self.orders.script(order))
        writer.setup = lambda: script
        writer.write_snakefile = lambda: "true"
        return writer

    def get_python_executable(self) -> str:
        """Of the container."""
        return "python"

    def get_job_args(self, job: Any, **named: Any) -> str:
        """On as many cores as the job asks for, whatever the VM has; there are no files to wait for."""
        return str(RealExecutor.get_job_args(self, job, cores=job.threads, **named))

    def get_allocation_policy(self, job: Any) -> batch_v1.AllocationPolicy:
        """Spot VMs: what the plugin asks for, PREEMPTIBLE, ends after a day at the latest."""
        models = batch_v1.AllocationPolicy.ProvisioningModel
        policy = super().get_allocation_policy(job)
        for instance in policy.instances:
            if instance.policy.provisioning_model == models.PREEMPTIBLE:
                instance.policy.provisioning_model = models.SPOT
        return policy

    def is_preemptible(self, job: Any) -> bool:
        """Spot as often as `--preemptible-retries` says, then on demand, so that a job ends some day."""
        retries = self.workflow.remote_execution_settings.preemptible_retries or 0
        return bool(job.attempt <= max(retries, 1) and super().is_preemptible(job))

    def report_job_submission(self, job_info: SubmittedJobInfo, register_job: bool = True) -> None:
        """Remember under which name the job's results will be."""
        job_info.aux["order"] = self.sent.pop(job_info.job)
        self.running[job_info.external_jobid] = job_info
        super().report_job_submission(job_info, register_job)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Bring the results; a job whose results are not here has failed."""
        self.running.pop(job_info.external_jobid, None)
        try:
            missing = {str(path) for path in job_info.job.output}.difference(self.orders.bring(job_info.aux["order"]))
            problem = f"{min(missing)} is not in the bucket" if missing else ""
        except PROBLEMS as error:
            problem = str(error)
        if problem:
            _note(job_info.job, f"error: the results of {job_info.job} did not arrive: {problem}")
            super().report_job_error(job_info, "Its results did not arrive.")
        else:
            super().report_job_success(job_info)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **named: Any) -> None:
        """Snakemake starts a job again that lost its VM; one that failed by itself would only fail again.

        What the job has written of its failure is brought first.
        """
        self.running.pop(job_info.external_jobid, None)
        job, codes = job_info.job, self._exit_codes(job_info)
        if PREEMPTED in codes:
            msg = f"{msg or ''}Its spot VM was taken away."
        else:
            job.attempt = max(job.attempt, job.restart_times + 1)
            with contextlib.suppress(*PROBLEMS):
                self.orders.bring(job_info.aux["order"])
        for code, limit, resource in ((OVERTIME, "time", "runtime"), (KILLED, "memory", "mem_mb")):
            if code in codes:
                _note(
                    job,
                    f"error: {job.name}: Google Batch ended the job, since it needed more {limit} than it had asked for"
                    f"\n  ask for more: --set-resources {job.name}:{resource}=<number>, or in the profile",
                )
        super().report_job_error(job_info, msg, **named)

    def run_job(self, job: Any) -> None:
        """Send the job; what Google refuses is told in two lines, and what is sent is not printed."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                super().run_job(job)
        except GoogleAPICallError as error:
            raise WorkflowError(f"error: {_told(error, self.project_parent(job))}") from None

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Look at each job; where Google does not answer, it is looked at again: a network may be away for a while.

        The plugin ends the whole run then, while its jobs go on.
        """
        for job_info in active_jobs:
            try:
                async for running in super().check_active_jobs([job_info]):
                    yield running
            except NotFound:
                self.report_job_error(job_info, "Somebody has deleted it. ")
            except (GoogleAPICallError, RetryError) as error:
                self.logger.warning(f"Google Batch does not answer, and is asked again: {error}")
                yield job_info

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Delete every job that has not ended: what goes on after Ctrl-C costs money.

        Snakemake takes no job for active while it looks at them (`RemoteExecutor._wait_for_jobs`), and the plugin waits
        for one deletion before it asks for the next.
        """
        for name in list(self.running):
            try:
                self.batch.delete_job(name=name)
            except NotFound:
                continue
            except (GoogleAPICallError, RetryError) as error:
                self.logger.error(f"error: {name} goes on: {error}\n  delete it: gcloud batch jobs delete {name}")
            else:
                self.logger.info(f"Deleted {name}")

    def _exit_codes(self, job_info: SubmittedJobInfo) -> set[int]:
        """With which codes the tasks of a job ended; none where it is gone."""
        try:
            events = self.batch.get_job(name=job_info.external_jobid).status.status_events
        except NotFound:
            return set()
        told = {int(code) for event in events for code in re.findall(r"exit code (\d+)", event.description)}
        return told | {event.task_execution.exit_code for event in events}


class _Once:
    """A log that says nothing twice: the plugin tells the state of every job at every look."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger
        self.said: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.logger, name)

    def info(self, message: Any) -> None:
        if str(message) not in self.said and "Setup Command" not in str(message):
            self.said.add(str(message))
            self.logger.info(message)


@contextlib.contextmanager
def _in_two_lines(job: str = "") -> Iterator[None]:
    from imagewright.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        raise WorkflowError(f"error: {job}: {error}" if job else f"error: {error}") from None


def _note(job: Any, text: str) -> None:
    """Write to a job's log, where the Snakefile looks for what to repeat at the end."""
    for log in map(Path, job.log):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"\n{text}\n")


def _label(value: str) -> str:
    """As Google wants the value of a label: lower case, digits, `_` and `-`."""
    return re.sub(r"[^a-z0-9_-]", "-", value.lower())[:LABEL_LENGTH]


def _told(error: GoogleAPICallError, place: str) -> str:
    first = str(error.message or error).splitlines()[0]
    remedy = "see docs/clusters.md"
    if isinstance(error, ResourceExhausted) or "quota" in first.lower():
        remedy = "ask for more of it, or take another region or card: console.cloud.google.com/iam-admin/quotas"
    elif isinstance(error, Forbidden):
        remedy = "you need the role roles/batch.jobsEditor, and the Batch API has to be on: see docs/clusters.md"
    elif isinstance(error, NotFound):
        remedy = "set the project and the region: SNAKEMAKE_IMAGEWRIGHT_BATCH_PROJECT and ..._REGION"
    return f"Google Batch refused a job in {place}: {first}\n  {remedy}"
