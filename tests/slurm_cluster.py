"""A real Slurm on one machine, for a test: two virtual nodes, of which one has pretended GPUs.

Everything it consists of lies in one folder and ends with the test: its own munge daemon, with a key of its own, a
controller and a daemon for each node, on free ports of 127.0.0.1.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "srun")
START_S = 30
CLIENT_S = 20
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
# Memory is watched by reading /proc, since a container may not make cgroups.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
# A minute of grace would be a minute of every test.
OverTimeLimit=0
KillWait=5
# Without slurmdbd, what became of a job is known as long as the controller remembers it.
MinJobAge=3600
SlurmdParameters=config_overrides
# What is started as unimportant is so on the nodes, too.
PropagatePrioProcess=1
NodeName=cpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={cpu} CPUs=4 RealMemory=16000
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={gpu} CPUs=4 RealMemory=16000 Gres=gpu:pretended:2
PartitionName=cpu Nodes=cpu1 Default=YES MaxTime=24:00:00 State=UP
PartitionName=gpu Nodes=gpu1 MaxTime=24:00:00 State=UP
"""
GRES = """\
NodeName=gpu1 Name=gpu Type=pretended File=/dev/null
NodeName=gpu1 Name=gpu Type=pretended File=/dev/zero
"""


@dataclass(frozen=True)
class Slurm:
    """A running cluster."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """What the clients, and so Snakemake, have to have in their environment."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def ask(self, *command: str) -> str:
        """The answer of a client, for example of `scontrol show job`."""
        return subprocess.run(
            command, env=os.environ | self.variables, check=True, text=True, timeout=CLIENT_S,
            capture_output=True,
        ).stdout  # fmt: skip

    def jobs(self) -> list[dict[str, str]]:
        """Every job since the start, in the order of submission, as `scontrol show job` has it."""
        found = []
        for line in self.ask("scontrol", "show", "job", "--oneliner").splitlines():
            pairs = (word.partition("=") for word in line.split() if "=" in word)
            found.append({key: value for key, _, value in pairs})
        return sorted((job for job in found if "JobId" in job), key=lambda job: int(job["JobId"]))


def missing() -> list[str]:
    """The programs that are not installed here."""
    return [name for name in PROGRAMS if not shutil.which(name, path=_path())]


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Start a cluster in an empty folder, and end every process of it.

    A daemon of munge wants a short path for its socket, so the folder must not be a deep one.
    """
    started: list[subprocess.Popen[bytes]] = []
    cluster = _configure(folder)
    try:
        started.append(_munge(folder))
        _wait(lambda: (folder / "munge.socket").exists(), started, folder)
        conf = str(folder / "slurm.conf")
        started.append(_daemon(folder, "slurmctld", "-D", "-f", conf))
        started += [_daemon(folder, "slurmd", "-D", "-f", conf, "-N", name) for name in ("cpu1", "gpu1")]
        _wait(lambda: _nodes(cluster).count("idle") == 2, started, folder)
        yield cluster
    finally:
        _end(started)


def _configure(folder: Path) -> Slurm:
    for name in ("controller", "cpu1", "gpu1"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    controller, cpu, gpu = _free_ports(3)
    host = socket.gethostname().partition(".")[0]
    text = CONFIG.format(host=host, folder=folder, controller=controller, cpu=cpu, gpu=gpu)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(GRES)
    # Snakemake's plugin drops SLURM_CONF where it starts srun in a job; elsewhere the file is in its usual place.
    srun = folder / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    return Slurm(folder)


def _munge(folder: Path) -> "subprocess.Popen[bytes]":
    return _daemon(
        folder, "munged", "--foreground", "--force",
        *(f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")),
        f"--socket={folder}/munge.socket",
    )  # fmt: skip


def _daemon(folder: Path, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
    with (folder / "daemons.log").open("ab") as log:
        return subprocess.Popen(
            [program, *arguments], env=os.environ | {"PATH": _path()}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _path() -> str:
    # The daemons lie where an ordinary user's path does not lead.
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _nodes(cluster: Slurm) -> list[str]:
    try:
        return cluster.ask("sinfo", "--noheader", "--Node", "--format=%T").split()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return []


def _wait(is_there: Callable[[], bool], started: list["subprocess.Popen[bytes]"], folder: Path) -> None:
    end = time.monotonic() + START_S
    while not is_there():
        if time.monotonic() > end or any(process.poll() is not None for process in started):
            logs = "\n".join(path.read_text(errors="replace")[-1000:] for path in sorted(folder.glob("*.log")))
            raise RuntimeError(f"Slurm did not come up within {START_S} s:\n{logs}")
        time.sleep(0.1)


def _end(started: list["subprocess.Popen[bytes]"]) -> None:
    """End the daemons, and the steps that they started, which live on by themselves."""
    running = [psutil.Process(process.pid) for process in started if process.poll() is None]
    family = [child for process in running for child in process.children(recursive=True)] + running
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(family, timeout=5)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for process in started:
        process.wait(CLIENT_S)
