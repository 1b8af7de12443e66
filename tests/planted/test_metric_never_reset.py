"""A metric that is never reset: the best epoch and its score would be a mixture of epochs."""

import numpy as np
import pandas as pd
import pytest
from conftest import Project
from stopped import DIGITS, check_passes, check_stopped

VALIDATION = "src/imagewright/train/validation.py"
LOOP = "src/imagewright/train/loop.py"
HISTORY = "results/train/digits8/default/history.csv"
SELECTION = "results/select/digits8/selection.json"


def test_the_metric_that_chooses(built: Project, project: Project) -> None:
    project.edit(VALIDATION, "        self.confusion.reset()\n", "")
    done = project.snakemake("select_all", *DIGITS)
    check_stopped(
        project, done, "select: ", "history.csv says val accuracy", "a fresh pass over val gives", "reset it",
        absent=[SELECTION],
    )  # fmt: skip
    check_passes(built, SELECTION)
    # The defect is really there: each epoch is the mean of all so far, and the training itself did not change.
    clean, mixed = (pd.read_csv(where.root / HISTORY) for where in (built, project))
    np.testing.assert_allclose(mixed["val/accuracy"], clean["val/accuracy"].expanding().mean(), atol=1e-6)
    assert abs(mixed["val/accuracy"].iloc[-1] - clean["val/accuracy"].iloc[-1]) > 0.01
    np.testing.assert_allclose(mixed["train/loss"], clean["train/loss"], rtol=1e-4)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("module", "after", "split", "words"),
    [
        (VALIDATION, "        self.confusion.reset()\n        self.loss.reset()\n", "val", "holds 90 images"),
        (LOOP, "        self.loss.reset()\n        self.batches.next_epoch()\n", "train", "holds 416 images"),
    ],
)  # fmt: skip
def test_a_loss(built: Project, project: Project, module: str, after: str, split: str, words: str) -> None:
    # No stage chooses by a loss, and none could measure it again; but people read the curve.
    project.edit(module, after, after.replace("        self.loss.reset()\n", ""))
    done = project.snakemake("train_all", *DIGITS)
    check_stopped(project, done, "train: ", f"the {split} loss {words}", "reset it", absent=[HISTORY])
    check_passes(built, HISTORY)
