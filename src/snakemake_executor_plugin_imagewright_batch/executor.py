"""Requests to Google Batch that ask for what the rules say.

Each method below corrects one thing of `GoogleBatchExecutor` 0.5.1 and can go when its repository
(snakemake/snakemake-executor-plugin-googlebatch) has corrected it; `tests/clusters/test_batch_requests.py` shows what
the uncorrected plugin sends.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import google.auth
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, ResourceExhausted
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import batch_v1
from snakemake_executor_plugin_googlebatch.executor import GoogleBatchExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

DEFAULT_CARD = "nvidia-l4"
DRIVER = (
    "/var/lib/nvidia/lib64:/usr/local/nvidia/lib64",
    "/var/lib/nvidia/bin:/usr/local/nvidia/bin",
)
"""Where Container-Optimized OS has the driver, and where CUDA images look for it."""
PREEMPTED = 50001
"""The exit code that Batch gives a task whose spot VM was taken away."""
LABEL_LENGTH = 63
ENTRYPOINT = """\
#!/bin/bash
mkdir -p /tmp/workdir
cat <<'END_OF_ENTRYPOINT' > /tmp/workdir/entrypoint.sh
set -e
export IMAGEWRIGHT_COMMIT={commit}
{command}
END_OF_ENTRYPOINT
chmod +x /tmp/workdir/entrypoint.sh
"""


class Executor(GoogleBatchExecutor):
    """The plugin's executor, corrected."""

    def __post_init__(self) -> None:
        """Stop before anything is sent where nobody is logged in."""
        try:
            google.auth.default()
        except DefaultCredentialsError:
            raise WorkflowError(
                "error: there are no Google Cloud credentials, so no job can be sent\n"
                "  log in: gcloud auth application-default login; or see docs/clusters.md"
            ) from None
        super().__post_init__()
        # Not imported above: Snakemake imports every plugin when it starts, and the Snakefile decides which code runs.
        from imagewright.bundle.commit import code_state

        self.commit = code_state(Path(self.workflow.main_snakefile)).commit or ""

    def get_param(self, job: Any, param: str) -> Any:
        """What a rule asks for, where the plugin reads only its own resources and defaults.

        CPUs from `threads`, memory from `mem_mb`, the disk from `disk_mb`, the time limit from `runtime`. Batch itself
        starts nothing again: Snakemake does, and knows which attempt it is. A resource `googlebatch_<param>` still goes
        first.
        """
        resources = job.resources
        asked = {
            "cpu_milli": job.threads * 1000,
            "memory": resources.get("mem_mb"),
            "boot_disk_gb": -(-resources["disk_mb"] // 1000) if resources.get("disk_mb") else None,
            "max_run_duration": f"{resources['runtime'] * 60}s" if resources.get("runtime") else None,
            "retry_count": 0,
        }.get(param)
        given = resources.get(f"googlebatch_{param}")
        if given is not None:
            return given
        return super().get_param(job, param) if asked is None else asked

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
        writer.setup = lambda: ENTRYPOINT.format(command=writer.command, commit=self.commit)
        writer.write_snakefile = lambda: "true"
        return writer

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

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **named: Any) -> None:
        """Snakemake starts a job again that lost its VM; one that failed by itself would only fail again."""
        job = job_info.job
        if not self._was_preempted(job_info):
            job.attempt = max(job.attempt, job.restart_times + 1)
        super().report_job_error(job_info, msg, **named)

    def run_job(self, job: Any) -> None:
        """Send the job; what Google refuses is told in two lines, and what is sent is not printed."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                super().run_job(job)
        except GoogleAPICallError as error:
            raise WorkflowError(f"error: {_told(error, self.project_parent(job))}") from None

    def _was_preempted(self, job_info: SubmittedJobInfo) -> bool:
        events = self.batch.get_job(name=job_info.external_jobid).status.status_events
        return any(
            event.task_execution.exit_code == PREEMPTED or f"exit code {PREEMPTED}" in event.description
            for event in events
        )


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
