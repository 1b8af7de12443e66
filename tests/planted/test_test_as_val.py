"""The test split serves as validation: the score on test would be the best of many tries, and sold as one."""

import pytest
from conftest import Project
from stopped import DIGITS, check_passes, check_stopped

TRIAL = "src/imagewright/train/trial.py"
SELECT = "src/imagewright/select/choose.py"
SHORT = (*DIGITS, "overrides=[train.epochs=1]")
OUTPUTS = {
    "train": "results/train/{}/default/trial.json",
    "select": "results/select/{}/selection.json",
    "evaluate": "results/evaluate/{}/metrics.json",
}


def check_noticed(built: Project, project: Project, stage: str, *words: str) -> None:
    done = project.snakemake(f"{stage}_all", *SHORT)
    short = next(path.stem for path in (project.root / "results/resolve/select").glob("digits8~*.yaml"))
    check_stopped(project, done, f"{stage}: ", *words, absent=[OUTPUTS[stage].format(short)])
    check_passes(built, OUTPUTS[stage].format("digits8"))


def test_train_notices(built: Project, project: Project) -> None:
    project.edit(TRIAL, 'val = TensorSplit(tensors, "val")', 'val = TensorSplit(tensors, "test")')
    check_noticed(built, project, "train", "the val loader read test", "its own split")


@pytest.mark.slow
def test_select_and_evaluate_notice_where_nobody_else_does(built: Project, project: Project) -> None:
    project.edit(TRIAL, 'val = TensorSplit(tensors, "val")', 'val = TensorSplit(tensors, "test")')
    project.edit(TRIAL, "    check_splits(seen, meta)\n", "")
    check_noticed(built, project, "select", "trial 'default' was not validated on this val split", "train it again")

    # Whoever takes test for val everywhere makes `select` agree; `evaluate` looks at what was really open.
    project.edit(SELECT, '["splits"]["val"]["sha256"]', '["splits"]["test"]["sha256"]')
    project.edit(SELECT, 'TensorSplit(tensors, "val")', 'TensorSplit(tensors, "test")')
    check_noticed(
        built, project, "evaluate", "has seen the test split", "it served as calibration and val", "three splits"
    )


def test_calibrated_on_test(built: Project, project: Project) -> None:
    # Training is clean; the temperature alone is fitted on test, by code that no longer measures the trial again.
    project.edit(SELECT, 'TensorSplit(tensors, "val")', 'TensorSplit(tensors, "test")')
    project.edit(SELECT, "    check_recorded_metric(trials / best, record, section.monitor, measured, close)\n", "")
    done = project.snakemake("evaluate_all", *DIGITS)
    output = OUTPUTS["evaluate"].format("digits8")
    check_stopped(project, done, "evaluate: ", "it served as calibration", absent=[output])
    check_passes(built, output)


@pytest.mark.slow
def test_int8_calibrated_on_test(built: Project, project: Project) -> None:
    project.edit("src/imagewright/export/write.py", 'TensorSplit(tensors, "train")', 'TensorSplit(tensors, "test")')
    done = project.snakemake("gate_all", *DIGITS)
    output = "results/gate/digits8/gate.json"
    check_stopped(project, done, "gate: the INT8 ranges were not measured on the train split", absent=[output])
    check_passes(built, output)
