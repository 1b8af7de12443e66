"""What the gate judges has a name and a hash, so that nothing else can be bundled for it."""

from pathlib import Path

import pytest

from imagewright.errors import EvidenceError
from imagewright.files import sha256, write_json
from imagewright.gate.judge import hash_judged

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
