"""Whatever goes wrong in a pull, nothing wrong is taken for right, and it says what to do."""

import hashlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from clones import BUCKET, is_clean, run
from conftest import Project
from storage_emulator import delete, upload

from imagewright.config.resolve import UNFINISHED

WEIGHTS = "results/train/digits8/default/model.safetensors"
ALSO = "results/select/digits8/model.safetensors"
LIMIT_S = 15


def refused(project: Project, *arguments: str) -> str:
    """Pull, which has to fail in one error of two lines and no traceback."""
    done = project.run("imagewright", "pull", *arguments)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def untouched(project: Project) -> bool:
    """Whether nothing was restored, so that everything would be built."""
    return not (project.root / "results/index").exists() and not (project.root / UNFINISHED).exists()


@contextmanager
def at_the_remote(origin: Project, endpoint: str, content: bytes | None) -> Iterator[None]:
    """Another object than that of the weights, or none, for the time of a block."""
    whole = (origin.root / WEIGHTS).read_bytes()
    md5 = hashlib.md5(whole).hexdigest()
    name = f"files/md5/{md5[:2]}/{md5[2:]}"
    delete(endpoint, BUCKET, name)
    if content is not None:
        upload(endpoint, BUCKET, name, content)
    try:
        yield
    finally:
        upload(endpoint, BUCKET, name, whole)


@pytest.mark.parametrize(("content", "problem"), [(None, "is not at the remote"), (b"rot", "is damaged at the remote")])
def test_an_object_is_absent_or_damaged(
    fresh: Project, origin: Project, endpoint: str, content: bytes | None, problem: str
) -> None:
    with at_the_remote(origin, endpoint, content):
        said = refused(fresh)
    for path in (WEIGHTS, ALSO):
        assert f"{path}: its object {problem}: gs://{BUCKET}/files/md5/" in said
        assert not (fresh.root / path).exists()
    assert "dvc push where the results are whole" in said
    planned = fresh.planned()
    assert "Train digits8, trial default" in planned and not {name for name in planned if "shapes" in name}
    # It is back: so is all the rest.
    assert run(fresh, "imagewright", "pull").startswith("restored: 2 files")
    assert is_clean(fresh)


def damage(project: Project, md5: str) -> None:
    """Spoil an object in the cache, as a failing disk would."""
    cached = project.root / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    cached.chmod(0o644)
    cached.write_bytes(b"rot")
    cached.chmod(0o444)


@pytest.mark.slow
def test_damage_in_the_cache_of_this_machine_is_noticed(fresh: Project, origin: Project) -> None:
    run(fresh, "dvc", "fetch")
    damage(fresh, hashlib.md5((origin.root / WEIGHTS).read_bytes()).hexdigest())
    assert f"{WEIGHTS}: its object did not arrive; pull again: gs://" in refused(fresh)
    assert not (fresh.root / WEIGHTS).exists()
    run(fresh, "imagewright", "pull")
    assert is_clean(fresh)
    # The listing of a folder.
    outs = yaml.safe_load((fresh.root / "dvc.lock").read_text())["stages"]["train"]["outs"]
    damage(fresh, next(out["md5"] for out in outs if out["path"] == "results/train"))
    shutil.rmtree(fresh.root / "results")
    run(fresh, "imagewright", "pull")
    assert is_clean(fresh)


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def refusing_server() -> Iterator[str]:
    """Refuses as Google Cloud Storage does somebody without rights."""

    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (
                b'{"error": {"code": 403, "message": "reader@example.org does not have storage.objects.list access '
                b'to the Google Cloud Storage bucket.", "errors": [{"reason": "forbidden"}]}}'
            )
            self.send_response(403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("server", "problem"),
    [(silent_server, "no answer within 8 s"), (refusing_server, "not allowed: reader@example.org does not have")],
)
def test_a_remote_that_does_not_answer_or_refuses(
    fresh: Project, server: Callable[[], Iterator[str]], problem: str
) -> None:
    with server() as url:  # type: ignore[attr-defined]
        run(fresh, "dvc", "remote", "modify", "--local", "gcs", "endpointurl", url)
        started = time.monotonic()
        said = refused(fresh)
        assert time.monotonic() - started < LIMIT_S
    assert f"error: gs://{BUCKET}/files/md5: {problem}" in said
    assert untouched(fresh)


def test_nobody_is_logged_in(fresh: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    # Where Google's library asks whether this is a machine of theirs.
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    run(fresh, "dvc", "remote", "modify", "--local", "--unset", "gcs", "allow_anonymous_login")
    said = refused(fresh)
    assert "not allowed: Your default credentials were not found" in said
    assert "gcloud auth application-default login" in said
    run(fresh, "dvc", "remote", "modify", "--local", "gcs", "credentialpath", "/nowhere/key.json")
    assert "/nowhere/key.json" in refused(fresh)
    assert untouched(fresh)


def test_no_bucket_no_remote_no_record(fresh: Project, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(fresh, "dvc", "remote", "modify", "--local", "--unset", "gcs", "url")
    assert "the remote 'gcs' has no bucket yet" in refused(fresh)
    assert "there is no remote 'shelf'" in refused(fresh, "--remote", "shelf")
    monkeypatch.setenv("IMAGEWRIGHT_BUCKET", "another-bucket")
    assert "gs://another-bucket/files/md5: there is nothing" in refused(fresh)
    assert untouched(fresh)
    monkeypatch.setenv("IMAGEWRIGHT_BUCKET", BUCKET)
    run(fresh, "imagewright", "pull")
    (fresh.root / "dvc.lock").unlink()
    assert "nothing is recorded" in refused(fresh)


def test_a_wrong_config_stops_it_before_anything_is_changed(fresh: Project) -> None:
    fresh.edit("config/experiment/digits8.yaml", "epochs: 6", "epochs: six")
    assert "epochs" in refused(fresh)
    assert untouched(fresh)


def test_the_disk_is_full(fresh: Project, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        run(fresh, "dvc", "config", "--local", "cache.dir", str(disk / "cache"))
        assert "the disk is full" in refused(fresh)
        assert untouched(fresh)
        # The cache has room now, the place of the results has not.
        run(fresh, "dvc", "config", "--local", "cache.dir", str(tmp_path / "cache"))
        small = Project(disk / "clone")
        shutil.rmtree(disk / "cache")
        shutil.copytree(fresh.root, small.root, symlinks=True)
        said = refused(small)
        assert "No space left on device" in said and "nothing was changed" in said
        assert not (small.root / WEIGHTS).exists()
        subprocess.run(["mount", "-o", "remount,size=500m", disk], check=True)
        run(small, "imagewright", "pull")
        assert is_clean(small)
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(
            lambda root: len(list((root / ".dvc/cache").rglob("*"))) > 100, id="fetching", marks=pytest.mark.proof
        ),
        pytest.param(lambda root: (root / ".pull.partial/data").exists(), id="copying", marks=pytest.mark.proof),
        pytest.param(lambda root: (root / UNFINISHED).exists(), id="begun", marks=pytest.mark.proof),
        pytest.param(lambda root: (root / "data/raw/digits8").exists(), id="placing"),
        pytest.param(lambda root: (root / WEIGHTS).exists(), id="placed", marks=pytest.mark.proof),
    ],
)
def test_killed_and_repeated(fresh: Project, moment: Callable[[Path], bool]) -> None:
    process = fresh.start("imagewright", "pull")
    while not moment(fresh.root):
        assert process.poll() is None, "it ended before it was killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = fresh.snakemake("-n")
    if (fresh.root / UNFINISHED).exists():
        assert done.returncode == 1 and "run it to its end: imagewright pull" in done.stdout
    else:
        # Nothing was put in place yet, so everything would be built.
        assert not (fresh.root / WEIGHTS).exists() and "Train digits8, trial default" in done.stdout
    run(fresh, "imagewright", "pull")
    assert is_clean(fresh)
    assert not (fresh.root / ".pull.partial").exists()


def test_not_beside_a_running_workflow(fresh: Project) -> None:
    locks = fresh.root / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").touch()
    assert "a workflow is running here" in refused(fresh)
    assert untouched(fresh)
