"""The numbers behind the page in the forms that DVC compares and plots: a file an experiment, a folder a subject."""

import shutil
from pathlib import Path

import pandas as pd

from imagewright.config.report import ReportSection
from imagewright.files import read_json, write_json


def write_tables(section: ReportSection, results: Path, out: Path) -> None:
    """Write `metrics/`, `curves/` and, for classifications, `confusion/`.

    Args:
        section: the experiments.
        results: the folder `results/`.
        out: the folder to write to. `metrics/<experiment>.json` has the metrics of the served runtime on the whole
            test split, with intervals; `curves/<experiment>.csv` the chosen trial's epochs;
            `confusion/<experiment>.csv` a row for each test image, `label` and `predicted`.
    """
    for folder in ("metrics", "curves", "confusion"):
        (out / folder).mkdir()
    for name in section.experiments:
        bundle = read_json(results / "bundle" / name / "bundle.json")
        whole = {metric: value for metric, value in bundle["metrics"].items() if "/" not in metric}
        write_json(out / "metrics" / f"{name}.json", whole)
        trial = read_json(results / "select" / name / "selection.json")["trial"]
        shutil.copyfile(results / "train" / name / trial / "history.csv", out / "curves" / f"{name}.csv")
        if bundle["task"] == "classification":
            predictions = pd.read_parquet(results / "evaluate" / name / "predictions.parquet")
            predictions[["label", "predicted"]].to_csv(
                out / "confusion" / f"{name}.csv", index=False, lineterminator="\n"
            )
