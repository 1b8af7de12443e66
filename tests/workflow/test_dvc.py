"""`dvc repro` runs the same targets; what Snakemake has built is not built again, and a second call does nothing."""

from conftest import Project


def test_repro_after_snakemake_recomputes_nothing(project: Project) -> None:
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        assert project.run(*command).returncode == 0
    weights = project.root / "results/train/digits8/default/model.safetensors"
    before = weights.stat().st_mtime_ns
    first = project.run("dvc", "repro")
    assert first.returncode == 0, first.stdout[-3000:]
    assert "Job " not in first.stdout
    assert weights.stat().st_mtime_ns == before
    second = project.run("dvc", "repro")
    assert second.returncode == 0
    assert "Data and pipelines are up to date." in second.stdout
    assert project.planned() == set()
