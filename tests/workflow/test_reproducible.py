"""The same inputs give the same bytes: in another folder, on another number of cores, on another day."""

import pytest
from conftest import Project, make_project

from imagewright.files import sha256

FILES = (
    "results/index/{data}/index.parquet",
    "results/index/{data}/contact.png",
    "results/tensors/{tensors}/meta.json",
    "results/tensors/{tensors}/train.images.npy",
    "results/tensors/{tensors}/train.targets.npy",
    "results/tensors/{tensors}/test.images.npy",
    "results/train/{data}/default/model.safetensors",
    "results/train/{data}/default/history.csv",
    "results/evaluate/{data}/metrics.json",
    "results/evaluate/{data}/predictions.parquet",
    "results/export/{data}/model.onnx",
    "results/export/{data}/model.int8.onnx",
)


@pytest.mark.proof
def test_another_folder_and_another_number_of_cores(built: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = make_project(tmp_path_factory.mktemp("other") / "somewhere" / "else")
    done = other.snakemake("--cores", "1", "--", "export_all", "evaluate_all")
    assert done.returncode == 0, done.stdout[-3000:]
    for data, tensors in (("digits8", "digits8-gray16"), ("shapes", "shapes-gray32")):
        for pattern in FILES:
            path = pattern.format(data=data, tensors=tensors)
            assert sha256(built.root / path) == sha256(other.root / path), path
