"""Offline, everything is on disk: nothing is lost for who has no account, and nothing that is private is kept."""

import signal
from pathlib import Path

import pytest
from tracked_stage import home_of, run_stage, run_wandb
from wandb_files import read_runs
from wandb_server import KEY, nothing_left, wandb_server


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_run_holds_what_the_stage_said(tmp_path: Path) -> None:
    done = run_stage(tmp_path, "0-5", MODE="offline", WANDB_API_KEY=KEY)
    assert done.code == 0 and done.said.startswith("finished"), done.said
    (run,) = read_runs(tmp_path / "runs/wandb")
    assert (run.project, run.group, run.job, run.name) == ("imagewright", "digits", "train", "digits/default")
    assert run.config["optimizer"] == {"lr": 0.1}
    assert [row["train/step_loss"] for row in run.history[:5]] == [1 / (step + 1) for step in range(5)]
    assert run.history[5]["val/accuracy"] == 0.5
    shown = run.history[5]
    assert shown["confusion._type"] == "image-file" and shown["confusion.caption"] == "on test"
    assert shown["examples.nrows"] == shown["masks.nrows"] == 1
    assert run.summary["test/accuracy"] == 0.75
    assert run.exit_code == 0
    found = {artifact["name"]: artifact for artifact in run.artifacts if artifact["kind"] != "run_table"}
    # The data goes in by its facts alone, the bundle comes out.
    assert found["digits-0123"]["used"] and found["digits-0123"]["kind"] == "dataset"
    assert found["digits-0123"]["files"] == ["facts.json"]
    assert not found["digits"]["used"] and found["digits"]["files"] == ["bundle.json"]

    # Everything lies in one folder, and nothing in it is a secret or came from the git repository.
    assert {path.split("/")[0] for path in below(tmp_path)} == {"runs", "bundle", "confusion.png"}
    assert {path.split("/")[1] for path in below(tmp_path / "runs")} <= {"data", "cache", run.folder.name}
    assert not below(home_of(tmp_path))
    text = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in text
    assert not [path for path in below(tmp_path / "runs") if "diff" in path or path.endswith((".py", "output.log"))]
    assert b"git@" not in text and b"diff --git" not in text


def test_a_stage_that_was_killed_continues_its_run(tmp_path: Path) -> None:
    assert run_stage(tmp_path, "0-6", 0, 3, MODE="offline", LASTING="abc", DIE="1").code == -9
    assert run_stage(tmp_path, "4-8", MODE="offline", LASTING="abc").code == 0
    first, second = read_runs(tmp_path / "runs/wandb")
    assert first.id == second.id == "abc"
    assert first.exit_code is None and second.exit_code == 0
    with wandb_server() as server:
        run_wandb(tmp_path, "sync", *(str(run.folder) for run in (first, second)), **server.environment())
        (run,) = server.runs.values()
        steps = [row["_step"] for row in run.history if "train/step_loss" in row]
        # The step at which it was killed is lost; what ran twice is there twice and, resume being exact, equal.
        assert steps == [0, 1, 2, 3, 4, 4, 5, 6, 7]
        assert run.complete
        assert server.used == [("abc", "digits-0123")]
        assert "digits" in {
            artifact["artifactCollectionName"] for artifact in server.artifacts if artifact["committed"]
        }
        assert "No runs to sync" in run_wandb(tmp_path, "sync", "--dry-run", "runs/wandb")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.proof)])
def test_the_stage_outlives_the_service(tmp_path: Path, number: signal.Signals) -> None:
    # wandb's own process was killed for its memory, or hangs.
    done = run_stage(tmp_path, "0-5", MODE="offline", SERVICE=str(int(number)))
    print(f"{number.name}: {done.tracked_for:.1f} s in the block, {done.seconds:.1f} s in all")
    assert done.code == 0, done.said
    assert "tracking: train digits/default is tracked only in part: " in done.said
    assert "Traceback" not in done.said
    assert done.seconds < 60
    assert nothing_left(tmp_path)
