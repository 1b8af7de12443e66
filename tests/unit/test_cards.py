"""GPUs among the jobs of one machine, pretended by a program that answers as `nvidia-smi` does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
UUIDS = {"0": "GPU-aaaa", "1": "GPU-bbbb"}
# Says which cards it got, then holds them until it is told to end.
JOB = "import os, sys; print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); sys.stdin.read()"
PATIENCE_S = 20


class Machine:
    """A machine with pretended cards, whose locks are nobody else's."""

    def __init__(self, folder: Path, numbers: str) -> None:
        programs = folder / "bin"
        programs.mkdir()
        rows = "".join(f"{number}, {UUIDS[number]}\\n" for number in numbers)
        smi = programs / "nvidia-smi"
        smi.write_text(f"#!/bin/sh\nprintf '{rows}'\n" if numbers else "#!/bin/sh\nexit 9\n")
        smi.chmod(0o755)
        self.variables = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(SOURCE),
            "IMAGEWRIGHT_CARDS": str(folder / "locks"),
        }
        self.started: list[subprocess.Popen[str]] = []

    def start(self, count: int, **variables: str) -> "subprocess.Popen[str]":
        job = subprocess.Popen(
            [sys.executable, "-m", "imagewright.cards", str(count), sys.executable, "-c", JOB],
            env=self.variables | variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(job)
        return job

    def given(self, count: int, **variables: str) -> list[str]:
        """The cards of a job that starts at once."""
        return said(self.start(count, **variables))


def said(job: "subprocess.Popen[str]") -> list[str]:
    assert job.stdout
    line = job.stdout.readline().strip()
    return [] if line in ("", "None") else line.split(",")


def waits(job: "subprocess.Popen[str]") -> bool:
    assert job.stderr
    return "Waiting for" in job.stderr.readline() and job.poll() is None


def end(job: "subprocess.Popen[str]") -> None:
    assert job.stdin
    job.stdin.close()
    job.wait(PATIENCE_S)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with_two = Machine(tmp_path, "01")
    yield with_two
    stop(with_two)


def stop(machine: Machine) -> None:
    for job in machine.started:
        job.kill()
        job.wait(PATIENCE_S)


def test_two_jobs_never_share_a_card(machine: Machine) -> None:
    assert machine.given(1) + machine.given(1) == ["GPU-aaaa", "GPU-bbbb"]
    third = machine.start(1)
    assert waits(third)
    end(machine.started[0])
    assert said(third) == ["GPU-aaaa"]


def test_a_job_that_is_killed_gives_its_card_back(machine: Machine) -> None:
    both = machine.start(2)
    assert said(both) == ["GPU-aaaa", "GPU-bbbb"]
    after = machine.start(1)
    assert waits(after)
    both.send_signal(signal.SIGKILL)
    assert said(after) == ["GPU-aaaa"]


def test_jobs_that_want_both_take_turns(machine: Machine) -> None:
    # All are told to end when they have answered; one that held half of what another wants would stop all of them.
    jobs = [machine.start(2) for _ in range(4)]
    for job in jobs:
        assert job.stdin
        job.stdin.close()
    for job in jobs:
        assert said(job) == ["GPU-aaaa", "GPU-bbbb"]
        job.wait(PATIENCE_S)


def test_only_cards_that_are_allowed(machine: Machine) -> None:
    # By number or by UUID it is the same card.
    assert machine.given(1, CUDA_VISIBLE_DEVICES="1") == ["GPU-bbbb"]
    assert machine.given(1, CUDA_VISIBLE_DEVICES="1,0") == ["GPU-aaaa"]
    assert waits(machine.start(1, CUDA_VISIBLE_DEVICES="GPU-bb"))


def test_a_command_without_cards(machine: Machine, tmp_path: Path) -> None:
    # Nobody wants one, the user wants none, a cluster has given its own, and there is none.
    assert machine.given(0) == ["-1"]
    assert machine.given(1, CUDA_VISIBLE_DEVICES="-1") == ["-1"]
    assert machine.given(2, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0") == ["0"]
    (tmp_path / "other").mkdir()
    without = Machine(tmp_path / "other", "")
    assert without.given(1) == without.given(2) == []
    stop(without)
    assert not list(tmp_path.rglob("*.lock"))


def test_more_cards_than_there_are(machine: Machine) -> None:
    job = machine.start(3)
    out, error = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 1 and out == ""
    assert error == (
        "error: 3 GPUs are asked for (train.processes), and this machine has 2\n"
        "  set train.processes to at most 2, or run on a cluster: --profile slurm\n"
    )


def test_the_exit_status_is_the_commands(machine: Machine) -> None:
    command = [sys.executable, "-m", "imagewright.cards", "1", "sh", "-c", "exit 7"]
    assert subprocess.run(command, env=machine.variables, check=False).returncode == 7
