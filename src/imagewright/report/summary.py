"""Write `summary.html`: a table of the experiments with intervals, then each one's pictures; one file, no network."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from imagewright.config.report import ReportSection
from imagewright.files import read_json
from imagewright.report.trials import draw_trials

PICTURES = {
    "Loss and metric by epoch; the chosen epoch is marked": "train/{experiment}/{trial}/curves.png",
    "True and predicted classes on test": "evaluate/{experiment}/confusion.png",
    "Confidence beside accuracy on test": "evaluate/{experiment}/calibration.png",
    "The worst mistakes on test": "evaluate/{experiment}/examples.png",
    "Images as stored (top row), and as the training saw them": "train/{experiment}/{trial}/augmented.png",
    "The images, a strip for each class": "index/{data}/contact.png",
}
SWEEP = "The trials of the sweep, the chosen one thick"
FEW_GROUPS = 20


def write_summary(section: ReportSection, results: Path, out: Path) -> None:
    """Write the page.

    Args:
        section: the experiments, in the order of the table.
        results: the folder `results/`.
        out: the folder to write `summary.html` to.
    """
    templates = Environment(loader=PackageLoader("imagewright.report"), autoescape=True, undefined=StrictUndefined)
    entries = [_entry(name, results) for name in section.experiments]
    page = templates.get_template("summary.html").render(experiments=entries, few_groups=FEW_GROUPS)
    (out / "summary.html").write_text(page)


def _entry(experiment: str, results: Path) -> dict[str, Any]:
    bundle = read_json(results / "bundle" / experiment / "bundle.json")
    selection = read_json(results / "select" / experiment / "selection.json")
    trials = selection["trials"]
    pictures = {SWEEP: _inline(draw_trials(selection))} if len(trials) > 1 else {}
    for caption, pattern in PICTURES.items():
        path = pattern.format(experiment=experiment, trial=selection["trial"], data=bundle["data"])
        pictures[caption] = _inline((results / path).read_bytes())
    return {
        "name": experiment,
        "bundle": bundle,
        "record": read_json(results / "bundle" / experiment / "record.json"),
        "trials": sorted(trials, key=lambda trial: -trial["value"]),
        "gate": read_json(results / "bundle" / experiment / "gate.json"),
        "evaluation": read_json(results / "evaluate" / experiment / "metrics.json"),
        "pictures": pictures,
    }


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
