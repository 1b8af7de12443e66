"""Files that are whole or absent: what a killed, failed or orphaned job would otherwise leave for the next stage."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagewright.errors import BrokenFileError, DataError, SupersededError
from imagewright.files import read_json, sha256, sha256_json, staged, walk_files, write_json, write_text_if_changed

SOURCE = Path(__file__).parents[2] / "src"


class Stopped(Exception):
    """Whatever goes wrong in a stage."""


def work_folders(out: Path) -> list[Path]:
    """What staged() works in; the small file that names the owner is no folder."""
    return [path for path in out.parent.glob(".*.partial") if path.is_dir()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    for size in (0, 1, 1 << 20):
        (tmp_path / "file").write_bytes(bytes(size))
        assert sha256(tmp_path / "file") == hashlib.sha256(bytes(size)).hexdigest()


def test_hash_of_json_does_not_depend_on_the_order_of_keys() -> None:
    assert sha256_json({"a": 1, "b": [2, {"c": 3, "d": 4}]}) == sha256_json({"b": [2, {"d": 4, "c": 3}], "a": 1})
    assert sha256_json([1, 2]) != sha256_json([2, 1])


def test_files_behind_links_to_folders(tmp_path: Path) -> None:
    # A class folder that is a link was trained on, and a change behind it noticed by nobody.
    for name in ("raw/cat/1.png", "elsewhere/dog/2.png", "elsewhere/dog/deep/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    raw = tmp_path / "raw"
    (raw / "dog").symlink_to(tmp_path / "elsewhere/dog")
    (raw / "file.png").symlink_to(raw / "cat/1.png")
    (raw / "nowhere").symlink_to(tmp_path / "nowhere")
    expected = ["cat/1.png", "dog/2.png", "dog/deep/3.png", "file.png"]
    assert sorted(path.relative_to(raw).as_posix() for path in walk_files(raw)) == expected
    (tmp_path / "link").symlink_to(raw)
    assert len(list(walk_files(tmp_path / "link"))) == 4
    assert list(walk_files(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"caf\xe9/1.png"])
def test_a_name_that_is_no_text(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    except OSError:
        pytest.skip("this disk takes UTF-8 alone")
    with pytest.raises(DataError, match=r"/caf\\udce9(.png)?': the name is not UTF-8\n  rename it") as caught:
        list(walk_files(tmp_path))
    assert str(caught.value).isascii()


def test_links_in_a_circle(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        (tmp_path / one / f"{one}.png").write_text(one)
        (tmp_path / one / other).symlink_to(tmp_path / other)
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    found = sorted(path.relative_to(tmp_path).as_posix() for path in walk_files(tmp_path))
    assert found == ["a/a.png", "a/b/b.png", "b/a/a.png", "b/b.png"]


def test_equal_text_keeps_its_time(tmp_path: Path) -> None:
    # A file written anew would make Snakemake run everything that reads it.
    path = tmp_path / "new" / "section.yaml"
    assert write_text_if_changed(path, "a: 1\n")
    os.utime(path, ns=(1, 1))
    assert not write_text_if_changed(path, "a: 1\n")
    assert path.stat().st_mtime_ns == 1
    assert write_text_if_changed(path, "a: 2\n")
    assert path.stat().st_mtime_ns > 1
    assert names(path.parent) == ["section.yaml"]


def test_json_without_numbers_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    # NaN is no JSON: browsers and jq stop at it.
    path = tmp_path / "metrics.json"
    write_json(path, {"b": 0.5, "a": [1, 2]})
    assert path.read_text() == json.dumps({"a": [1, 2], "b": 0.5}, indent=2) + "\n"
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": math.nan})
    assert read_json(path) == {"a": [1, 2], "b": 0.5}
    assert names(tmp_path) == ["metrics.json"]


def test_half_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text('{"a": 1')
    with pytest.raises(BrokenFileError, match="it is broken, no JSON"):
        read_json(path)


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "stage" / "digits"
    with staged(out) as work:
        (work / "model").write_text("weights")
        (work / "deep").mkdir()
        (work / "deep" / "picture").write_text("pixels")
        assert not out.exists()
    assert content(out) == {"model": "weights", "deep/picture": "pixels"}
    assert names(out.parent) == ["digits"]


def test_what_else_lies_in_the_folder_stays(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    out.mkdir()
    (out / "notes").write_text("mine")
    (out / "model").write_text("old")
    with staged(out) as work:
        (work / "model").write_text("new")
    assert content(out) == {"notes": "mine", "model": "new"}


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.text("ab", max_size=3), max_size=4),
    stop=st.integers(0, 4),
    error=st.sampled_from([Stopped, KeyboardInterrupt, SystemExit]),
)
def test_a_block_that_raises_anywhere_leaves_the_old_files(
    texts: list[str], stop: int, error: type[BaseException]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "digits"
        with staged(out) as work:
            (work / "0").write_text("old")
        with pytest.raises(error), staged(out) as work:
            for number, text in enumerate(texts[:stop]):
                (work / str(number)).write_text(text)
            raise error
        assert content(out) == {"0": "old"}
        assert not work_folders(out)
        with staged(out) as work:
            (work / "0").write_text("new")
        assert content(out) == {"0": "new"}
        assert names(Path(folder)) == ["digits"]


def test_an_orphan_that_ends_last_cannot_publish(tmp_path: Path) -> None:
    # Its Snakemake was killed, a new run trained the same model and finished first.
    out = tmp_path / "digits"
    with pytest.raises(SupersededError, match="digits: a newer run has taken over"), ExitStack() as old:
        work = old.enter_context(staged(out))
        (work / "model").write_text("old")
        with staged(out) as newer:
            (newer / "model").write_text("new")
    assert content(out) == {"model": "new"}
    assert names(tmp_path) == ["digits"]


def test_an_orphan_that_ends_first_cannot_publish(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    old, new = ExitStack(), ExitStack()
    work = old.enter_context(staged(out))
    (work / "model").write_text("old")
    newer = new.enter_context(staged(out))
    (newer / "model").write_text("new")
    with pytest.raises(SupersededError):
        old.close()
    assert not out.exists()
    new.close()
    assert content(out) == {"model": "new"}
    assert not work_folders(out)


def test_an_orphan_that_writes_on_is_told_the_reason(tmp_path: Path) -> None:
    # Its folder is gone; "no such file" would send a person looking for a full disk.
    out = tmp_path / "digits"
    with pytest.raises(SupersededError), staged(out) as work, ExitStack() as new:
        new.enter_context(staged(out))
        (work / "model").write_text("old")


def test_a_failure_of_its_own_is_not_called_superseded(tmp_path: Path) -> None:
    with pytest.raises(Stopped), staged(tmp_path / "digits"):
        raise Stopped


@pytest.mark.parametrize(("first", "second"), [("digits.v2", "digits"), ("digits", "digits.v2")])
def test_a_name_that_begins_like_another_is_another(tmp_path: Path, first: str, second: str) -> None:
    # Two experiments side by side: the work of one must not be swept away as the rest of the other's.
    with staged(tmp_path / first) as work:
        (work / "model").write_text(first)
        with staged(tmp_path / second) as other:
            (other / "model").write_text(second)
    assert content(tmp_path) == {f"{first}/model": first, f"{second}/model": second}


def test_kill_leaves_the_old_files_and_the_next_call_cleans_up(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    with staged(out) as work:
        (work / "model").write_text("old")
    code = (
        "import sys, time; from pathlib import Path; from imagewright.files import staged\n"
        f"with staged(Path({str(out)!r})) as work:\n"
        "    (work / 'model').write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout is not None and job.stdout.readline() == "ready\n"
    job.send_signal(signal.SIGKILL)
    job.wait()
    job.stdout.close()
    assert content(out) == {"model": "old"}
    assert work_folders(out)
    with staged(out) as work:
        (work / "model").write_text("new")
    assert content(out) == {"model": "new"}
    assert names(tmp_path) == ["digits"]
