"""What a change makes run again: exactly what depends on it, and nothing else."""

import re

import pytest
import yaml
from conftest import Project

STAGES = {
    "fetch": "Fetch the raw data of {data}",
    "index": "Index {data}",
    "tensors": "Decode the tensors of {tensors}",
    "train": "Train {experiment}, trial default",
    "select": "Select the best trial of {experiment}",
    "evaluate": "Evaluate {experiment}",
    "export": "Export {experiment}",
    "gate": "Judge {experiment}",
    "bundle": "Bundle {experiment}",
}
AFTER = {
    # Stage: the stages that read what it makes, directly or not.
    "index": ["index", "tensors", "train", "select", "evaluate", "export", "gate", "bundle"],
    "train": ["train", "select", "evaluate", "export", "gate", "bundle"],
    "evaluate": ["evaluate", "gate", "bundle"],
    "export": ["export", "gate", "bundle"],
    "gate": ["gate", "bundle"],
    "report": [],
}
DIGITS = {"experiment": "digits8", "data": "digits8", "tensors": "digits8-gray16"}
SHAPES = {"experiment": "shapes", "data": "shapes", "tensors": "shapes-gray32"}


def jobs(stage: str, *experiments: dict[str, str]) -> set[str]:
    """The messages of `stage` and of all that follows, and of the report, which follows everything."""
    names = {STAGES[after].format(**names) for after in AFTER[stage] for names in experiments}
    return names | {"Write the summary page"}


def change_experiment(project: Project, name: str, **sections: dict[str, object]) -> None:
    path = f"config/experiment/{name}.yaml"
    content = yaml.safe_load((project.root / path).read_text())
    for section, values in sections.items():
        content.setdefault(section, {}).update(values)
    project.write_yaml(path, content, header="# @package _global_\n")


def test_a_train_key_of_one_experiment(project: Project) -> None:
    change_experiment(project, "digits8", train={"epochs": 7})
    assert project.planned() == jobs("train", DIGITS)


def test_a_comment_and_the_order_of_keys(project: Project) -> None:
    file = project.root / "config/train/default.yaml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(["# A new comment.", *reversed(lines)]) + "\n")
    assert project.planned() == set()


def test_an_evaluate_key_leaves_training_alone(project: Project) -> None:
    change_experiment(project, "shapes", evaluate={"pictures": 5})
    assert project.planned() == jobs("evaluate", SHAPES)


def test_a_data_key_reaches_all_that_share_the_data(project: Project) -> None:
    file = project.root / "config/data/shapes.yaml"
    file.write_text(file.read_text() + "split: {seed: 1}\n")
    assert project.planned() == jobs("index", SHAPES)


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("src/imagewright/export/onnx_file.py", "export"),
        ("src/imagewright/train/optimizer.py", "train"),
        ("src/imagewright/evaluate/pictures.py", "evaluate"),
        ("src/imagewright/gate/compare.py", "gate"),
        ("src/imagewright/report/summary.py", "report"),
        ("scripts/export.py", "export"),
    ],
)
def test_a_function_of_a_stage(project: Project, path: str, stage: str) -> None:
    file = project.root / path
    signature_and_docstring = re.compile(r"^(def \w+\(.*?\).*?:\n(?:    \"\"\".*?\"\"\"\n))", re.MULTILINE | re.DOTALL)
    text = signature_and_docstring.sub(r"\1    assert True\n", file.read_text(), count=1)
    assert text != file.read_text()
    file.write_text(text)
    assert project.planned() == jobs(stage, DIGITS, SHAPES)


def test_a_comment_in_code(project: Project) -> None:
    file = project.root / "src/imagewright/train/loop.py"
    file.write_text("# A remark.\n\n" + file.read_text())
    assert project.planned() == set()


def test_a_new_raw_file(project: Project) -> None:
    folder = project.root / "data/raw/digits8/3"
    (folder / "new.png").write_bytes((folder / "00.png").read_bytes())
    assert project.planned() == jobs("index", DIGITS) | {STAGES["fetch"].format(**DIGITS)}


def test_overrides_build_under_a_name_of_their_own(project: Project) -> None:
    planned = project.planned("--config", "experiments=digits8", "overrides=[train.epochs=2]")
    trained = {job for job in planned if job.startswith("Train")}
    assert len(trained) == 1
    assert re.fullmatch(r"Train digits8~[0-9a-f]{8}, trial default", trained.pop())
    # The data and the tensors are those that are there.
    assert not {job for job in planned if job.startswith(("Fetch", "Index", "Decode"))}
    # The usual call finds everything as it was, but for the page, which showed other experiments in between.
    assert project.planned() <= {"Write the summary page"}


def test_a_subset_leaves_the_others_alone(project: Project) -> None:
    assert project.planned("--config", "experiments=shapes") <= {"Write the summary page"}
    assert (project.root / "results/bundle/digits8/bundle.json").is_file()


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("results/train/digits8/default/curves.png", "Train digits8, trial default"),
        ("results/select/digits8/selection.json", "Select the best trial of digits8"),
        ("results/evaluate/digits8/confusion.png", "Evaluate digits8"),
        ("results/bundle/digits8/model.int8.onnx", "Bundle digits8"),
        ("results/report/summary.html", "Write the summary page"),
    ],
)
def test_any_file_that_is_missing_is_made_again(project: Project, file: str, stage: str) -> None:
    (project.root / file).unlink()
    assert stage in project.planned()


def test_a_name_that_is_not_planned_is_refused(project: Project) -> None:
    # The section of an experiment that was removed may still lie there.
    (project.root / "results/resolve/select/gone.yaml").write_text("monitor: accuracy\n")
    for path, name in (
        ("results/select/gone/model.safetensors", "experiment gone"),
        ("results/train/digits8/other/model.safetensors", "trial other"),
        ("data/raw/gone.json", "data gone"),
    ):
        done = project.snakemake("-n", "--", path)
        assert done.returncode == 1 and f"{name} is not planned" in done.stdout


@pytest.mark.slow
def test_no_stage_before_the_evaluation_reads_the_test_split(project: Project) -> None:
    tensors = project.root / "results/tensors/digits8-gray16"
    for path in tensors.glob("test.*.npy"):
        path.unlink()
    done = project.snakemake("--forcerun", "train", "--", "results/export/digits8/export.json")
    assert done.returncode == 0, done.stdout[-3000:]
    assert not list(tensors.glob("test.*.npy"))
    assert STAGES["tensors"].format(**DIGITS) in project.planned()
