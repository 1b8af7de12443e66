"""What `imagewright prune` takes for removed."""

from pathlib import Path

from imagewright.prune import prune, removed

KEPT = (
    "results/resolve/fetch/flowers.yaml",
    "results/resolve/raw/flowers.txt",
    "results/resolve/code/train.json",
    "results/resolve/report/summary.yaml",
    "results/resolve/train/roses/default.yaml",
    "results/resolve/provenance/roses.json",
    "results/index/flowers/report.json",
    "results/tensors/flowers-rgb-64/meta.json",
    "results/train/roses/default/model.safetensors",
    "results/train/roses~12ab34cd/default/model.safetensors",
    "results/benchmark/train/roses/default.tsv",
    "results/bundle/roses/bundle.json",
    "results/report/summary.html",
    "results/report/metrics/roses.json",
    "results/report/curves/roses~12ab34cd.csv",
    "results/report/confusion/roses.csv",
    "results/.gitignore",
    "data/raw/weeds/a.png",
    "data/raw/weeds.json",
)
GONE = (
    "results/resolve/fetch/weeds.yaml",
    "results/resolve/raw/weeds.txt",
    "results/resolve/train/thistle/default.yaml",
    "results/resolve/tracking/thistle.yaml",
    "results/resolve/provenance/thistle.json",
    "results/index/weeds/report.json",
    "results/tensors/weeds-rgb-64/meta.json",
    "results/tensors/flowers-rgb-32/meta.json",
    "results/train/thistle/default/model.safetensors",
    "results/train/thistle~12ab34cd/default/model.safetensors",
    "results/benchmark/index/weeds.tsv",
    "results/benchmark/train/thistle/default.tsv",
    "results/bundle/thistle/bundle.json",
    "results/report/metrics/thistle.json",
    "results/report/curves/thistle~12ab34cd.csv",
    "results/report/confusion/thistle.csv",
)
CONFIG = ("data/flowers.yaml", "tensors/rgb-64.yaml", "experiment/roses.yaml")


def test_what_config_no_longer_has_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (*KEPT, *GONE, *(f"config/{name}" for name in CONFIG)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = removed(tmp_path)
    prune(found)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*KEPT, *(f"config/{name}" for name in CONFIG)}
    assert len(found) == len(GONE)
    assert removed(tmp_path) == []
