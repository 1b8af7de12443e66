"""What the gate judges has a name and a hash, so that nothing else can be bundled for it; its server is its own."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imagewright.errors import EvidenceError, GateError
from imagewright.files import sha256, write_json
from imagewright.gate import live
from imagewright.gate.judge import hash_judged, same_as_evaluated

FILES = {
    "select": ("model.safetensors", "selection.json"),
    "export": ("model.onnx", "model.int8.onnx"),
    "evaluate": ("metrics.json", "predictions.parquet"),
}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """What `select`, `export` and `evaluate` wrote, as far as hashes go."""
    for stage, names in FILES.items():
        (tmp_path / stage).mkdir()
        for name in names:
            (tmp_path / stage / name).write_text(f"{stage} {name}")
    export = tmp_path / "export"
    write_json(export / "export.json", {"sha256": {name: sha256(export / name) for name in FILES["export"]}})
    return [tmp_path / stage for stage in FILES]


def test_every_judged_file_has_its_hash(folders: list[Path]) -> None:
    files = hash_judged(*folders)
    expected = {f"{stage}/{name}" for stage, names in FILES.items() for name in names} | {"export/export.json"}
    assert files.keys() == expected
    assert all(files[name] == sha256(folders[0].parent / name) for name in expected)


@pytest.mark.parametrize("name", FILES["export"])
def test_a_file_that_was_not_exported_is_not_judged(folders: list[Path], name: str) -> None:
    with (folders[1] / name).open("a") as file:
        file.write("!")
    with pytest.raises(EvidenceError, match="this is not the file that was exported"):
        hash_judged(*folders)


@pytest.mark.parametrize(
    ("answers", "accuracy", "said"),
    [
        ([[0.9, 0.1], [0.4999, 0.5001], [0.2, 0.8]], 0.6667, ""),
        # A decision that was open is another one here, and the accuracy with it.
        ([[0.9, 0.1], [0.5001, 0.4999], [0.2, 0.8]], 1.0, ""),
        ([[0.9, 0.1], [0.4999, 0.5001], [0.2, 0.8]], 0.1, "PyTorch gives accuracy"),
        ([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8]], 0.6667, "PyTorch's probabilities differ by up to 0.05"),
        ([[np.nan, 0.1], [0.4999, 0.5001], [0.2, 0.8]], 0.6667, "PyTorch's probabilities differ"),
    ],
)
def test_another_device_may_turn_open_decisions_and_no_more(
    answers: list[list[float]], accuracy: float, said: str
) -> None:
    written = pd.DataFrame([[0.9, 0.1], [0.4999, 0.5001], [0.2, 0.8]], columns=["p/cat", "p/dog"])
    found = same_as_evaluated(
        written, np.array(answers, np.float32), {"torch": {"metric": accuracy}}, {"accuracy": {"value": 0.6667}},
        "accuracy", ["cat", "dog"],
    )  # fmt: skip
    assert bool(found) is bool(said)
    assert said in "".join(found)


def test_keys_of_another_server_are_not_for_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With them, every request of the gate would be answered with 401.
    monkeypatch.setenv("IMAGEWRIGHT_API_KEYS_SHA256", "0" * 64)
    monkeypatch.setenv("WHATEVER_ELSE", "kept")
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "error: keys [$IMAGEWRIGHT_API_KEYS_SHA256], else [$WHATEVER_ELSE]"\n')
    program.chmod(0o700)
    monkeypatch.setattr(live.sys, "executable", str(program))
    with pytest.raises(GateError, match=r"keys \[\], else \[kept\]"), live.live_server(tmp_path, "onnx", 1):
        pass
