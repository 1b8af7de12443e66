"""Tracking stands in nobody's way: it is off when it should be, and what goes wrong in it stays in it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from imagewright.config.tracking import TrackingConfig
from imagewright.tracking import Tracker, bounded, lasting_id, tracked, tracker
from imagewright.tracking.bounded import Bounded
from imagewright.tracking.settings import init_arguments, kept_in, mode_of

CHECKOUT = Path(__file__).parents[2]
NAMES = (
    "WANDB_MODE",
    "WANDB_SWEEP_ID",
    "WANDB_RUN_ID",
    "WANDB_PROJECT",
    "WANDB_ENTITY",
    "WANDB_NAME",
    "WANDB_DATA_DIR",
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("mode", ["offline", "online", "disabled"])
def test_the_three_files(mode: str) -> None:
    read = yaml.safe_load((CHECKOUT / f"config/tracking/{mode}.yaml").read_text())
    assert TrackingConfig.model_validate(read) == TrackingConfig(mode=mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "environment", "expected"),
    [
        ("offline", {}, "offline"),
        ("online", {"WANDB_MODE": "disabled"}, "disabled"),
        ("disabled", {"WANDB_MODE": "dryrun"}, "offline"),
        # An agent's trial that reports nothing would make the whole sweep search blindly.
        ("offline", {"WANDB_SWEEP_ID": "s"}, "online"),
        ("online", {"WANDB_SWEEP_ID": "s", "WANDB_MODE": "offline"}, "offline"),
    ],
)
def test_who_decides_the_mode(config: str, environment: dict[str, str], expected: str) -> None:
    assert mode_of(TrackingConfig(mode=config), environment) == expected  # type: ignore[arg-type]


def test_what_the_environment_names_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrackingConfig(project="birds", entity="us")

    def named() -> dict[str, str]:
        return init_arguments(config, Path("runs/wandb"), "train", "digits", "t1", "abc")

    rest = {"job_type": "train", "dir": "runs"}
    ours = {"project": "birds", "entity": "us", "group": "digits", "name": "digits/t1", "id": "abc"}
    assert named() == {**ours, **rest}
    monkeypatch.setenv("WANDB_PROJECT", "fish")
    monkeypatch.setenv("WANDB_RUN_ID", "theirs")
    assert named() == {key: value for key, value in ours.items() if key not in ("project", "id")} | rest
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    assert named() == {"group": "digits", "name": "digits/t1", **rest}


def test_variables_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_CACHE_DIR", "theirs")
    with kept_in(tmp_path):
        assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "data")
        assert os.environ["WANDB_CACHE_DIR"] == "theirs"
    assert "WANDB_DATA_DIR" not in os.environ and os.environ["WANDB_CACHE_DIR"] == "theirs"


def test_disabled_imports_nothing_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagewright.config.tracking import TrackingConfig;"
        "from imagewright.tracking import tracked\n"
        "with tracked(TrackingConfig(mode='disabled'), Path('w'), job='train', experiment='e') as tracker:\n"
        "    tracker.log({'a': 1.0}, 1); tracker.picture('p', Path('no.png')); tracker.summary({})\n"
        "    tracker.examples('x', [], []); tracker.use('n', 'dataset', {})\n"
        "    tracker.artifact('n', 'model', Path('f'), {})\n"
        "assert 'wandb' not in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_without_wandb_two_lines_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with tracked(TrackingConfig(), tmp_path / "wandb", job="train", experiment="e") as run:
        run.log({"a": 1.0}, 1)
    assert "wandb is not installed" in capsys.readouterr().err
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize("case", ["file in the way", "unknown mode"])
def test_what_cannot_start_is_said_and_passed_over(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if case == "unknown mode":
        monkeypatch.setenv("WANDB_MODE", "sometimes")
    else:
        (tmp_path / "wandb").write_text("")
    with tracked(TrackingConfig(), tmp_path / "wandb", job="train", experiment="e", trial="t") as run:
        run.log({"a": 1.0}, 1)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("tracking: train e/t is not tracked: ") and len(said) == 2


def test_an_error_of_the_stage_comes_through(tmp_path: Path) -> None:
    (tmp_path / "wandb").write_text("")
    with pytest.raises(ZeroDivisionError), tracked(TrackingConfig(), tmp_path / "wandb", job="j", experiment="e"):
        _ = 1 / 0


def test_a_call_that_raises_is_passed_over_and_one_that_hangs_is_the_last() -> None:
    calls, release = Bounded(), threading.Event()

    def leave() -> None:
        raise SystemExit("bye\nand more")

    assert calls.do(leave, 5) is None
    assert calls.problem == "bye"
    assert calls.do(lambda: 7, 5) == 7
    started = time.monotonic()
    assert calls.do(lambda: release.wait(30), 0.2) is None
    assert calls.do(lambda: 8, 5) is None
    assert time.monotonic() - started < 2
    assert calls.stuck and calls.problem == "bye"
    release.set()


def test_an_interrupted_call_answers_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, release = Bounded(), threading.Event()

    class Interrupted(bounded.SimpleQueue):  # type: ignore[type-arg]
        def get(self, *arguments: object, **named: object) -> object:
            raise KeyboardInterrupt

    monkeypatch.setattr(bounded, "SimpleQueue", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        calls.do(lambda: release.wait(5), 5)
    monkeypatch.undo()
    release.set()
    assert calls.do(lambda: "mine", 5) == "mine"


def test_a_training_keeps_its_run_until_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "train/digits/default.run"
    first = lasting_id(path)
    assert lasting_id(path) == first and len(first) == 16
    path.unlink()
    assert lasting_id(path) != first


def test_without_a_run_nothing_happens() -> None:
    Tracker().log({"a": 1.0}, 1)
