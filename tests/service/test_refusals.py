"""What a server does not start with: one clear line, and one with what to do."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_server import api_server, refusal
from conftest import Project

from imagewright.errors import ServeError
from imagewright.serve.guard import KEYS, Guard
from imagewright.serve.model import open_served
from imagewright.serve.server import listen

DIGITS = "results/bundle/digits8"


def copy_of(built: Project, folder: Path) -> Path:
    shutil.copytree(built.root / DIGITS, folder / "bundle")
    return folder / "bundle"


def change_a_byte(file: Path, position: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda bundle: (bundle / "bundle.json").unlink(), ["no bundle.json", "--ungated"]),
        (lambda bundle: change_a_byte(bundle / "model.onnx", 9_000_000), ["model.onnx: it is not the file that was"]),
        (lambda bundle: (bundle / "bundle.json").write_text("{}"), ["bundle.json: it has no 'id'"]),
    ],
    ids=["half", "one byte", "empty bundle.json"],
)
def test_no_model_but_the_one_that_was_judged(built: Project, tmp_path: Path, damage: Any, words: list[str]) -> None:
    bundle = copy_of(built, tmp_path)
    damage(bundle)
    said = refusal(bundle, tmp_path / "server")
    for word in words:
        assert word in said


def test_any_file_that_is_missing_or_changed_is_noticed(built: Project, tmp_path: Path) -> None:
    bundle = tmp_path / "shapes"
    shutil.copytree(built.root / "results/bundle/shapes", bundle)
    assert open_served(bundle).id
    generator = np.random.default_rng(0)
    for name in ("export.json", "gate.json", "model.onnx", "model.int8.onnx"):
        content = (bundle / name).read_bytes()
        (bundle / name).unlink()
        with pytest.raises(ServeError, match="missing"):
            open_served(bundle)
        for position in generator.integers(len(content), size=20):
            (bundle / name).write_bytes(content)
            change_a_byte(bundle / name, position)
            with pytest.raises(ServeError, match="not the file that was judged"):
                open_served(bundle)
        (bundle / name).write_bytes(content)
    # Nothing has the hash of bundle.json itself; what can be noticed is told in one line, too.
    content = (bundle / "bundle.json").read_bytes()
    noticed = 0
    for position in generator.integers(len(content), size=100):
        (bundle / "bundle.json").write_bytes(content)
        change_a_byte(bundle / "bundle.json", position)
        try:
            open_served(bundle)
        except ServeError:
            noticed += 1
    assert noticed > 20


def test_a_model_without_a_verdict_is_not_served_by_mistake(built: Project, tmp_path: Path) -> None:
    assert "no gate has judged this model" in refusal(built.root / "results/export/digits8", tmp_path)


def test_a_port_that_is_taken(built: Project, tmp_path: Path) -> None:
    with api_server(built.root / DIGITS, tmp_path / "first") as server:
        port = server.address[1]
        said = refusal(built.root / DIGITS, tmp_path / "second", None, "--port", str(port))
    assert f"127.0.0.1:{port}: Address already in use" in said


def test_of_two_that_start_at_once_one_gets_the_port() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(ServeError, match="already in use"):
        listen("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("quue: 8\n", ["quue"]),
        ("a: [\n", ["serve.yaml"]),
        (None, ["serve.yaml"]),
        ("rate_limit: often\n", ["rate_limit", "'often'"]),
        ("log_predictions: /dev/null/predictions\n", ["/dev/null/predictions"]),
    ],
    ids=["unknown key", "no yaml", "no file", "no rate", "no folder"],
)
def test_a_bad_config(built: Project, tmp_path: Path, config: str | None, words: list[str]) -> None:
    if config is not None:
        (tmp_path / "serve.yaml").write_text(config)
    said = refusal(built.root / DIGITS, tmp_path / "server", None, "--config", str(tmp_path / "serve.yaml"))
    for word in words:
        assert word in said


def test_a_bad_hash_of_a_key(built: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Else a server that should be closed would be open, or closed to all.
    said = refusal(built.root / DIGITS, tmp_path, **{KEYS: "the key itself"})
    assert KEYS in said and "the key itself" not in said
    for given in ("0" * 63, f"{'0' * 64},{'g' * 64}", "\N{FULLWIDTH DIGIT ZERO}" * 64):
        monkeypatch.setenv(KEYS, given)
        with pytest.raises(ServeError, match=KEYS):
            Guard(None)


def test_a_runtime_that_is_not_there(built: Project, tmp_path: Path) -> None:
    assert "no runtime 'tensorrt'" in refusal(built.root / DIGITS, tmp_path, None, "--runtime", "tensorrt")
