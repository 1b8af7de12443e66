"""Online, a run is sent while it is written; whatever the server does, the stage ends well and soon, and says so."""

from pathlib import Path

import pytest
from tracked_stage import home_of, run_stage, run_wandb
from wandb_files import read_runs
from wandb_server import KEY, free_address, nothing_left, wandb_server

PATIENCE = 3.0


def test_a_run_arrives_while_it_is_written(tmp_path: Path) -> None:
    with wandb_server() as server:
        # The config says offline; the environment wins.
        done = run_stage(tmp_path, "0-5", 20, MODE="offline", WANDB_MODE="online", **server.environment())
        assert done.code == 0, done.said
        (name,) = server.runs
        run = server.runs[name]
        assert f"train digits/default is at {server.url}/team/imagewright/runs/{name}" in done.said
        assert (run.about["groupName"], run.about["jobType"], run.about["displayName"]) == (
            "digits",
            "train",
            "digits/default",
        )
        assert [row["train/step_loss"] for row in run.history[:5]] == [1 / (step + 1) for step in range(5)]
        assert run.complete
        assert server.used == [(name, "digits-0123")]
        made = {artifact["artifactCollectionName"]: artifact for artifact in server.artifacts}
        assert made["digits"]["artifactTypeName"] == "model" and made["digits"]["committed"]
        assert made["digits-0123"]["metadata"] == '{"fingerprint":"0123"}'
        # No picture of the data but the samples, no code, no console.
        assert not [file for file in run.files if file.endswith((".py", ".log", ".patch"))]
    written = [path for folder in (tmp_path, home_of(tmp_path)) for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path).parts[0] for path in written} == {"runs", "bundle", "confusion.png"}
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("refuses", "the stand-in says 401"),
        ("babbles", "invalid character"),
        ("fails", "no answer in time"),
        ("silent", "no answer in time"),
        ("nobody", "no answer in time"),
        ("no key", "No API key configured"),
    ],
)
def test_a_bad_server_costs_one_message(tmp_path: Path, behaviour: str, reason: str) -> None:
    with wandb_server(behaviour if behaviour not in ("nobody", "no key") else "well") as server:  # type: ignore[arg-type]
        variables = server.environment()
        if behaviour == "nobody":
            variables["WANDB_BASE_URL"] = free_address()
        if behaviour == "no key":
            del variables["WANDB_API_KEY"]
        done = run_stage(tmp_path, "0-5", PATIENCE, **variables)
        print(f"{behaviour}: {done.tracked_for:.1f} s in the block, {done.seconds:.1f} s in all")
        assert done.code == 0, done.said
        assert done.tracked_for < 6 + PATIENCE + 6
        (run,) = read_runs(tmp_path / "runs/wandb")
        expected = f"was not sent to {variables['WANDB_BASE_URL']}: "
        (line,) = [line for line in done.said.splitlines() if expected in line]
        assert reason in line
        later = f"  later: wandb sync runs/wandb/{run.folder.name}"
        assert later in done.said.splitlines()
        assert len(run.history) >= 6 and run.exit_code == 0
    assert nothing_left(tmp_path)


def test_who_is_refused_hears_of_it_at_once(tmp_path: Path) -> None:
    with wandb_server("refuses") as server:
        done = run_stage(tmp_path, "0-5", PATIENCE, 4, **server.environment())
        assert "tracking: nothing more is sent: the stand-in says 401" in done.said
        assert done.said.index("nothing more is sent") < done.said.index("was not sent")


def test_a_server_that_dies_on_the_way(tmp_path: Path) -> None:
    with wandb_server() as server:
        server.lives_for = 6
        done = run_stage(tmp_path, "0-5", PATIENCE, 2, **server.environment())
        print(f"dies: {done.tracked_for:.1f} s in the block, {done.seconds:.1f} s in all")
        assert done.code == 0, done.said
        (run,) = read_runs(tmp_path / "runs/wandb")
        command = f"wandb sync runs/wandb/{run.folder.name}"
        assert f"later: {command}" in done.said
        assert nothing_left(tmp_path)
        # It is back, and the command that the stage printed sends what is missing.
        server.lives_for = None
        run_wandb(tmp_path, *command.split()[1:], **server.environment())
        received = server.runs[run.id]
        assert received.complete
        # wandb appends to what had arrived: such rows may be there twice, with one step and one value.
        rows = {(row["_step"], row["train/step_loss"]) for row in received.history if "train/step_loss" in row}
        assert rows == {(step, 1 / (step + 1)) for step in range(5)}
        assert server.used[-1] == (run.id, "digits-0123")


def test_a_killed_stage_continues_its_run_on_the_server(tmp_path: Path) -> None:
    with wandb_server() as server:
        server.lives_for = 6
        assert run_stage(tmp_path, "0-6", PATIENCE, 3, DIE="1", LASTING="abc", **server.environment()).code == -9
        assert nothing_left(tmp_path)
        # Down again: the command names both folders.
        server.lives_for = 0
        said = run_stage(tmp_path, "4-8", PATIENCE, LASTING="abc", **server.environment()).said
        runs = read_runs(tmp_path / "runs/wandb")
        assert "  later: wandb sync " + " ".join(f"runs/wandb/{run.folder.name}" for run in runs) in said
        server.lives_for = None
        assert "is at http" in run_stage(tmp_path, "6-9", 20, LASTING="abc", **server.environment()).said
        steps = [row["_step"] for row in server.runs["abc"].history if "train/step_loss" in row]
        assert set(steps) == set(range(9)) and steps[-7:] == [4, 5, 6, 7, 6, 7, 8]


def test_a_killed_stage_leaves_no_sender_behind(tmp_path: Path) -> None:
    with wandb_server() as server:
        assert run_stage(tmp_path, "0-5", PATIENCE, 3, DIE="1", **server.environment()).code == -9
        assert nothing_left(tmp_path)


@pytest.mark.proof
@pytest.mark.parametrize("behaviour", ["silent", "fails", "nobody"])
def test_the_wait_is_bounded_as_it_is_shipped(tmp_path: Path, behaviour: str) -> None:
    with wandb_server(behaviour if behaviour != "nobody" else "well") as server:  # type: ignore[arg-type]
        variables = server.environment()
        if behaviour == "nobody":
            variables["WANDB_BASE_URL"] = free_address()
        done = run_stage(tmp_path, "0-5", **variables)
        print(f"{behaviour}, as shipped: {done.tracked_for:.1f} s in the block")
        assert done.code == 0 and done.tracked_for < 60


@pytest.mark.proof
def test_the_wait_for_a_server_that_stops_answering_is_bounded(tmp_path: Path) -> None:
    with wandb_server() as server:
        server.lives_for = 6
        done = run_stage(tmp_path, "0-5", **server.environment())
        print(f"dies, as shipped: {done.tracked_for:.1f} s in the block")
        assert done.code == 0 and done.tracked_for < 60
