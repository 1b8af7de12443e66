"""A sweep whose values never reach the training: the best of several equal models is sold as a choice."""

import pytest
from conftest import Project
from stopped import check_passes, check_stopped

OPTIMIZER = "src/imagewright/train/optimizer.py"
TRIAL = "src/imagewright/train/trial.py"
COMPOSE = "src/imagewright/config/compose.py"
SWEPT = ("--config", "experiments=swept")
SELECTION = "results/select/swept/selection.json"


@pytest.fixture
def swept(project: Project) -> Project:
    """A sweep over two learning rates on digits8."""
    text = (project.root / "config/experiment/digits8.yaml").read_text()
    text = text.replace("epochs: 6", "epochs: 1")
    sweep = "sweep:\n  method: grid\n  parameters:\n    optimizer.lr: [0.001, 0.004]\n"
    (project.root / "config/experiment/swept.yaml").write_text(text + sweep)
    return project


def test_the_rate_never_reaches_the_optimizer(swept: Project) -> None:
    swept.edit(OPTIMIZER, "lr=config.lr,", "lr=0.001,")
    done = swept.snakemake("select_all", *SWEPT)
    check_stopped(swept, done, "train: optimizer.lr 0.004 was asked for, but 0.001 took part", absent=[SELECTION])
    # Where nobody compares with what was asked for, two equal trials still stop the run.
    swept.edit(TRIAL, "    check_reached(section, effective)\n", "")
    done = swept.snakemake("select_all", *SWEPT)
    check_stopped(
        swept, done, "select: trials ", "'optimizer.lr': 0.001", "'optimizer.lr': 0.004", "ran with the same values",
        absent=[SELECTION],
    )  # fmt: skip


def test_the_values_never_reach_the_config(swept: Project) -> None:
    swept.edit(COMPOSE, "base, [*experiment.overrides, *overrides])", "base, [*experiment.overrides])")
    done = swept.snakemake("select_all", *SWEPT)
    check_stopped(swept, done, "config/experiment/swept.yaml: sweep: two trials are the same", absent=[SELECTION])


@pytest.mark.slow
def test_the_clean_twin(swept: Project) -> None:
    done = swept.snakemake("select_all", *SWEPT)
    assert done.returncode == 0, done.stdout[-3000:]
    check_passes(swept, SELECTION, "results/select/swept/model.safetensors")
    trials = swept.json(SELECTION)["trials"]
    records = [swept.json(f"results/train/swept/{trial['trial']}/trial.json") for trial in trials]
    for trial, record in zip(trials, records, strict=True):
        rates = {group["lr"] for group in record["effective"]["optimizer"]["groups"]}
        assert rates == {trial["values"]["optimizer.lr"]}
    assert {trial["values"]["optimizer.lr"] for trial in trials} == {0.001, 0.004}
