"""Two fetches of one data set: one writes, and it is the one that came last."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagewright.errors import SourceError, SupersededError
from imagewright.fetch import claim
from imagewright.fetch.claim import claimed

PATIENCE_S = 30


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "pets"


def wait_for(what: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Fetch(threading.Thread):
    """A fetch that takes a step, and looks whether it is still wanted, until it is told to end."""

    def __init__(self, raw: Path, working: list["Fetch"]) -> None:
        super().__init__(daemon=True)
        self.raw, self.working = raw, working
        self.began, self.enough = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.together = 0

    def run(self) -> None:
        try:
            with claimed(self.raw) as still_ours:
                self.working.append(self)
                self.began.set()
                try:
                    while not self.enough.wait(0.01):
                        self.together = max(self.together, len(self.working))
                        still_ours()
                finally:
                    self.working.remove(self)
        except Exception as error:
            self.error = error


def test_nothing_stays(raw: Path) -> None:
    with claimed(raw) as still_ours:
        still_ours()
        assert [path.name for path in raw.parent.iterdir()] == [".pets.claim"]
    with pytest.raises(RuntimeError), claimed(raw):
        raise RuntimeError
    assert not list(raw.parent.iterdir())


def test_the_newest_goes_on_and_the_others_stop(raw: Path) -> None:
    working: list[Fetch] = []
    fetches = []
    for _ in range(4):
        fetches.append(Fetch(raw, working))
        fetches[-1].start()
        wait_for(fetches[-1].began.is_set)
    fetches[-1].enough.set()
    for fetch in fetches:
        fetch.join(PATIENCE_S)
    assert [type(fetch.error) for fetch in fetches] == [SupersededError] * 3 + [type(None)]
    assert {fetch.together for fetch in fetches} <= {0, 1}
    assert not list(raw.parent.iterdir())


def test_many_at_once(raw: Path) -> None:
    # However they meet, one at a time writes, and one of them comes to its end.
    working: list[Fetch] = []
    fetches = [Fetch(raw, working) for _ in range(8)]
    for fetch in fetches:
        fetch.start()
    wait_for(lambda: sum(fetch.is_alive() for fetch in fetches) == 1)
    for fetch in fetches:
        fetch.enough.set()
        fetch.join(PATIENCE_S)
    assert [fetch.error for fetch in fetches].count(None) == 1
    assert {type(fetch.error) for fetch in fetches} == {SupersededError, type(None)}
    assert {fetch.together for fetch in fetches} <= {0, 1}
    assert not list(raw.parent.iterdir())


def test_another_data_set_is_nobodys_business(raw: Path) -> None:
    with claimed(raw) as first, claimed(raw.with_name("pets.v2")) as second:
        first()
        second()


def test_one_that_does_not_stop(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "PATIENCE_S", 0.3)
    with claimed(raw), pytest.raises(SourceError, match=r"another fetch of it still runs after 0\.3 s"), claimed(raw):
        raise AssertionError("two at once")


def test_a_claim_that_cannot_be_made(raw: Path) -> None:
    (raw.parent / ".pets.claim").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"\.pets\.claim: Is a directory"), claimed(raw):
        raise AssertionError("claimed")


def test_one_that_was_killed_blocks_nobody(raw: Path) -> None:
    code = f"""
import pathlib, time
from imagewright.fetch.claim import claimed
with claimed(pathlib.Path({str(raw)!r})):
    print("began", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"began\n"
        os.kill(process.pid, signal.SIGKILL)
    assert (raw.parent / ".pets.claim").is_file()
    began = time.monotonic()
    with claimed(raw) as still_ours:
        still_ours()
    assert time.monotonic() - began < 1
    assert not list(raw.parent.iterdir())
