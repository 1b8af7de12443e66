"""A short model card (after Mitchell et al., Model Cards for Model Reporting, 2019), filled from the records alone."""

from pathlib import Path
from typing import Any

FEW_GROUPS = 20
NORMALISED = {"train": "the train split", "timm": "the data that its architecture in timm was made for"}


def write_card(
    bundle: dict[str, Any],
    index: dict[str, Any],
    evaluation: dict[str, Any],
    gate: dict[str, Any],
    record: dict[str, Any],
    path: Path,
) -> None:
    """Write `card.md`.

    Args:
        bundle: `bundle.json`.
        index: `report.json` of the index.
        evaluation: `metrics.json`.
        gate: `gate.json`.
        record: `record.json`.
        path: the file to write.
    """
    model, form = bundle["model"], bundle["input"]
    lines = [
        f"# {bundle['experiment']}",
        "",
        f"Bundle `{bundle['id']}`: {bundle['task']} into {len(bundle['classes'])} classes with "
        f"{model['name']} ({model['library']}), on {form['height']}×{form['width']} {form['colour']} pictures.",
        "",
        f"It started from {_origin(bundle['pretrained'])}; pictures are normalised by mean and standard deviation of "
        f"{NORMALISED[bundle['normalisation']['from']]}.",
        "",
        f"Classes, in the order of the outputs: {', '.join(_class_names(bundle))}.",
        "",
        "## What it was measured on",
        "",
        *_data_lines(index),
        "",
        f"## How good it is: the default runtime ({bundle['default_runtime']}) on the test split",
        "",
        *_metric_lines(bundle),
        "",
        f"Intervals are percentile bootstrap over {evaluation['groups']} groups"
        + (
            f"; with fewer than {FEW_GROUPS} groups they are likely to be too narrow."
            if evaluation["groups"] < FEW_GROUPS
            else "."
        ),
        "",
        "## Runtimes",
        "",
        *_runtime_lines(gate),
        "",
        "## Limits",
        "",
        "The numbers hold for pictures like those of the test split. Pictures from another source, another device or "
        "another time may do worse, and nothing here says by how much.",
        "",
        "## Where it comes from",
        "",
        _commit_line(record),
        *(f"- {name}: `{value}`" for name, value in bundle["fingerprints"].items()),
        "",
    ]
    path.write_text("\n".join(lines))


def _origin(pretrained: dict[str, Any]) -> str:
    return "random weights" if pretrained["source"] == "none" else f"the weights of {pretrained['source']}"


def _commit_line(record: dict[str, Any]) -> str:
    if record["commit"] is None:
        return "- commit: not known"
    return f"- commit: `{record['commit']}`" + (", with uncommitted changes" if record["dirty"] else "")


def _class_names(bundle: dict[str, Any]) -> list[str]:
    names = bundle["names"]
    return [f"{name} ({names[name]})" if name in names else name for name in bundle["classes"]]


def _data_lines(index: dict[str, Any]) -> list[str]:
    lines = ["| split | images | groups |", "|---|---:|---:|"]
    for name in ("train", "val", "test"):
        part = index["splits"][name]
        lines.append(f"| {name} | {part['images']} | {part['groups']} |")
    left_out = {reason: len(files) for reason, files in index["left_out"].items() if files}
    if left_out:
        lines += ["", "Left out: " + ", ".join(f"{count} ({reason})" for reason, count in left_out.items()) + "."]
    return lines


def _metric_lines(bundle: dict[str, Any]) -> list[str]:
    lines = ["| metric | value | interval | baseline |", "|---|---:|---:|---:|"]
    for name, metric in bundle["metrics"].items():
        base = bundle["baseline"].get(name)
        shown = "" if base is None else f"{base:.4f}"
        if metric["value"] is not None:
            lines.append(f"| {name} | {metric['value']:.4f} | {metric['low']:.4f} to {metric['high']:.4f} | {shown} |")
    return lines


def _runtime_lines(gate: dict[str, Any]) -> list[str]:
    lines = [
        "| runtime | metric | decisions that differ | largest difference | median ms | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, entry in gate["runtimes"].items():
        verdict, difference = "passed" if entry["passed"] else "left out", entry["max_abs_diff"]
        lines.append(
            f"| {name} | {entry['metric']:.4f} | {entry['flips']} of {entry['decisions']} | "
            f"{'' if difference is None else f'{difference:.2g}'} | {entry['p50_ms']:.2f} | {verdict} |"
        )
    return lines
