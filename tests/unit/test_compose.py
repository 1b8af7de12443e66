"""A mistake in `config/` is named where a person made it: file, key and the nearest right name, in two lines.

Otherwise a newcomer reads somebody else's traceback, or trains for an hour with a key that nobody looked at.
"""

import shutil
from pathlib import Path

import pytest

from imagewright.config.compose import Experiment, compose_experiment
from imagewright.errors import ConfigError

CONFIG = Path(__file__).parents[2] / "config"
DIGITS = "experiment/digits.yaml"
TRAIN = "train/default.yaml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return shutil.copytree(CONFIG, tmp_path / "config")


def add(config: Path, file: str, text: str) -> None:
    path = config / file
    path.write_text(path.read_text() + text)


def edit(config: Path, file: str, old: str, new: str) -> None:
    path = config / file
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def refusal(config: Path, *overrides: str, experiment: str = "digits") -> tuple[str, str]:
    """The two lines that a person reads; a third would be a traceback's first."""
    with pytest.raises(ConfigError) as caught:
        compose_experiment(config, experiment, overrides)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    return lines[0], lines[1].strip()


def test_the_experiments_of_this_checkout(config: Path) -> None:
    digits, brain = (compose_experiment(config, name) for name in ("digits", "brain"))
    assert (digits.name, digits.data, digits.tensors) == ("digits", "digits", "gray28")
    assert (digits.config.model.name, digits.config.train.epochs) == ("resnet10t", 8)
    assert (brain.config.loss.name, brain.config.train.monitor) == ("dice_ce", "dice")
    assert digits.bundle_section(["default"]).tensors == "digits-gray28"


def test_an_override_is_used_and_gives_a_name_of_its_own(config: Path) -> None:
    plain = compose_experiment(config, "digits")
    changed = compose_experiment(config, "digits", ["train.epochs=2", "optimizer.lr=0.1"])
    assert (changed.config.train.epochs, changed.config.optimizer.lr) == (2, 0.1)
    assert changed.name.startswith("digits~") and plain.name == "digits"
    turned = compose_experiment(config, "digits", ["optimizer.lr=0.1", "train.epochs=2"])
    other = compose_experiment(config, "digits", ["train.epochs=3"])
    assert turned.name == changed.name != other.name


@pytest.mark.parametrize(
    ("file", "text", "wrong", "right"),
    [
        (DIGITS, "  epoch: 3\n", "train.epoch", "train.epochs"),
        (TRAIN, "epoch: 3\n", "train.epoch", "train.epochs"),
        (DIGITS, "traim: {epochs: 3}\n", "traim", "train"),
        ("optimizer/adamw.yaml", "  warmup: 3\n", "optimizer.schedule.warmup", "optimizer.schedule.warmup_epochs"),
        ("data/digits.yaml", "duplicate: stop\n", "data.duplicate", "data.duplicates"),
        ("evaluate/default.yaml", "resample: 500\n", "evaluate.resample", "evaluate.resamples"),
    ],
)
def test_unknown_key(config: Path, file: str, text: str, wrong: str, right: str) -> None:
    add(config, file, text)
    problem, remedy = refusal(config)
    assert problem.endswith(f"config/{file}: unknown key {wrong!r}")
    assert remedy.startswith(f"did you mean {right!r}")


@pytest.mark.parametrize(
    ("group", "old", "wrong", "right"),
    [
        ("model", "resnet10t", "resnet10", "resnet10t"),
        ("augment", "handwriting", "handwritting", "handwriting"),
        ("tensors", "gray28", "grey28", "gray28"),
        ("data", "digits", "digit", "digits"),
    ],
)
def test_misspelt_choice(config: Path, group: str, old: str, wrong: str, right: str) -> None:
    edit(config, DIGITS, f"/{group}: {old}\n", f"/{group}: {wrong}\n")
    problem, remedy = refusal(config)
    assert problem.endswith(f"{DIGITS}: there is no config/{group}/{wrong}.yaml")
    assert repr(right) in remedy


@pytest.mark.parametrize(("group", "old"), [("data", "digits"), ("tensors", "gray28")])
@pytest.mark.parametrize("name", ["my digits", "digits~1", "größe"])
def test_a_name_that_is_none_for_a_folder(config: Path, group: str, old: str, name: str) -> None:
    # Results are called after it, and commands hold it.
    (config / group / f"{old}.yaml").rename(config / group / f"{name}.yaml")
    edit(config, DIGITS, f"/{group}: {old}\n", f"/{group}: {name}\n")
    problem, remedy = refusal(config)
    assert problem.endswith(f"config/{DIGITS}: {group} is {name!r}")
    assert remedy.startswith(f"rename config/{group}/{name}.yaml")


def test_misspelt_group(config: Path) -> None:
    edit(config, DIGITS, "/augment: handwriting", "/augmnt: handwriting")
    problem, remedy = refusal(config)
    assert problem.endswith(f"config/{DIGITS}: unknown key 'augmnt'") and "override" not in problem
    assert remedy.startswith("did you mean 'augment'")


def test_misspelt_choice_in_an_override(config: Path) -> None:
    assert refusal(config, "loss=cross_entrop") == (
        "loss=cross_entrop: there is no config/loss/cross_entrop.yaml",
        "did you mean 'cross_entropy'?",
    )


def test_misspelt_loss(config: Path) -> None:
    edit(config, "loss/cross_entropy.yaml", "name: cross_entropy", "name: cross_entrophy")
    problem, remedy = refusal(config)
    assert problem.endswith("config/loss/cross_entropy.yaml: loss.name is 'cross_entrophy'")
    assert remedy == "did you mean 'cross_entropy'?"


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "near"),
    [
        ("tensors/gray28.yaml", "colour: gray", "colour: grey", "tensors.colour", "'gray'"),
        (
            "data/digits.yaml",
            "duplicates: stop",
            "duplicates: drop-from-training",
            "data.duplicates",
            "'drop-from-train'",
        ),
        ("data/digits.yaml", "kind: package", "kind: packages", "data.source.kind", "'package'"),
        ("data/digits.yaml", "kind: class_folders", "kind: class_folder", "data.layout.kind", "'class_folders'"),
        ("optimizer/adamw.yaml", "name: cosine", "name: cosin", "optimizer.schedule.name", "'cosine'"),
    ],
)
def test_misspelt_value(config: Path, file: str, old: str, new: str, key: str, near: str) -> None:
    edit(config, file, f"{old}\n", f"{new}\n")
    problem, remedy = refusal(config)
    assert problem.endswith(f"config/{file}: {key} is {new.split(': ')[1]!r}")
    assert near in remedy


@pytest.mark.parametrize(
    "written",
    [
        "data: {split: {val: 0.3}}\n",
        "data: {duplicates: report}\n",
        "data: digits\n",
        "tensors: {height: 32}\n",
        "tensors: null\n",
    ],
)
def test_data_and_tensors_are_no_experiments_business(config: Path, written: str) -> None:
    # Two experiments on one data set would be measured on different images and compared all the same.
    add(config, DIGITS, written)
    group = written.split(":")[0]
    problem, remedy = refusal(config)
    assert f"{DIGITS}: {group}" in problem and "may not be set by an experiment" in problem
    assert f"config/{group}/" in remedy and f"`- override /{group}: <name>`" in remedy


@pytest.mark.parametrize("sign", ["", "+", "++", "~"])
@pytest.mark.parametrize("key", ["data.split.val=0.3", "tensors.height=32", "data.new=1"])
def test_nor_an_overrides(config: Path, sign: str, key: str) -> None:
    override = sign + (key.split("=")[0] if sign == "~" else key)
    problem, remedy = refusal(config, override)
    assert f"{override} may not be set" in problem
    assert f"`- override /{key.split('.')[0]}: <name>`" in remedy


def test_other_data_may_be_chosen_for_one_run(config: Path) -> None:
    shutil.copy(config / "data/digits.yaml", config / "data/letters.yaml")
    assert compose_experiment(config, "digits", ["data=letters"]).data == "letters"


@pytest.mark.parametrize(
    ("override", "problem", "remedy"),
    [
        ("train.epoch=3", "override train.epoch=3: unknown key 'train.epoch'", "did you mean 'train.epochs'"),
        ("+train.epoch=3", "override +train.epoch=3: unknown key 'train.epoch'", "did you mean 'train.epochs'"),
        ("++traim.epochs.x=3", "override ++traim.epochs.x=3: unknown key 'traim'", "did you mean 'train'"),
        ("train.epochs=0", "override train.epochs=0: train.epochs is 0", "Input should be greater than or equal to 1"),
        ("train.epochs=many", "override train.epochs=many: train.epochs is 'many'", "Input should be a valid integer"),
        ("loss.name=dice", "override loss.name=dice: loss.name is 'dice'", "did you mean 'dice_ce'"),
        ("train.epochs", "train.epochs", "['train.epochs']"),
    ],
)
def test_wrong_override(config: Path, override: str, problem: str, remedy: str) -> None:
    found = refusal(config, override)
    assert problem in found[0] and remedy in found[1]


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "limit"),
    [
        (DIGITS, "epochs: 8", "epochs: 0", "train.epochs is 0", "1"),
        ("tensors/gray28.yaml", "height: 28", "height: 4", "tensors.height is 4", "8"),
        ("optimizer/adamw.yaml", "lr: 0.002", "lr: 0", "optimizer.lr is 0", "0"),
        ("evaluate/default.yaml", "confidence: 0.95", "confidence: 95", "evaluate.confidence is 95", "1"),
        ("export/default.yaml", "opset: 20", "opset: 12", "export.opset is 12", "18"),
        ("gate/default.yaml", "max_class_excess: 0.3", "max_class_excess: 30", "gate.max_class_excess is 30", "1"),
        ("data/digits.yaml", "max_unreadable: 0.0", "max_unreadable: 5", "data.max_unreadable is 5", "1"),
    ],
)
def test_value_out_of_range(config: Path, file: str, old: str, new: str, key: str, limit: str) -> None:
    edit(config, file, old, new)
    problem, remedy = refusal(config)
    assert problem.endswith(f"config/{file}: {key}")
    assert remedy.endswith(limit)


@pytest.mark.parametrize(
    ("old", "new", "remedy"),
    [
        ("val: 0.15", "val: 0.9", "leave nothing to train on"),
        ("seed: 0", "seed: 0\n  gap: 2", "gap needs block"),
        ("seed: 0", "seed: 0\n  group: x\n  block: 2", "group and block exclude each other"),
    ],
)
def test_split_that_contradicts_itself(config: Path, old: str, new: str, remedy: str) -> None:
    edit(config, "data/digits.yaml", old, new)
    problem, found = refusal(config)
    assert "config/data/digits.yaml: data.split does not fit together" in problem
    assert remedy in found


@pytest.mark.parametrize(
    ("classes", "remedy"),
    [("[cat]", "at least two classes"), ("[cat, cat]", "stands here twice"), ("{cat: 0, dog: 1}", "a list of names")],
)
def test_classes_that_cannot_be(config: Path, classes: str, remedy: str) -> None:
    edit(config, "data/digits.yaml", '["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]', classes)
    problem, found = refusal(config)
    assert "config/data/digits.yaml: data" in problem
    assert remedy in found


def test_a_metric_of_the_other_task(config: Path) -> None:
    # The sweep and the checkpoint would be chosen by a number that is never measured.
    add(config, DIGITS, "  monitor: dice\n")
    problem, remedy = refusal(config)
    assert problem.endswith(f"{DIGITS}: train.monitor is 'dice', which classification does not measure")
    assert remedy == "use one of: accuracy, macro_f1"


@pytest.mark.parametrize("file", [DIGITS, TRAIN, "data/digits.yaml"])
@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("x: [1\n", "this is not YAML", "expected ',' or ']'"),
        ("\tx: 1\n", "this is not YAML", "cannot start any token"),
        ("x: \0\n", "this is not YAML", "special characters"),
    ],
    ids=["bracket", "tab", "zero"],
)
def test_file_that_is_not_yaml(config: Path, file: str, text: str, problem: str, remedy: str) -> None:
    add(config, file, text)
    first, second = refusal(config)
    assert f"config/{file}" in first and problem in first
    assert remedy in second
    if "special" not in remedy:
        assert ", line " in first


@pytest.mark.parametrize("file", [DIGITS, TRAIN])
def test_file_that_is_not_utf8(config: Path, file: str) -> None:
    # An accent from an old editor on Windows.
    (config / file).write_bytes((config / file).read_bytes() + "# café\n".encode("latin-1"))
    problem, remedy = refusal(config)
    assert problem.endswith(f"config/{file}: this is not UTF-8 text") and remedy == "save it as UTF-8"


@pytest.mark.parametrize(("name", "near"), [("digitz", "'digits'"), ("../digits", "'digits'"), ("", "brain, digits")])
def test_missing_experiment(config: Path, name: str, near: str) -> None:
    problem, remedy = refusal(config, experiment=name)
    assert f"experiment {name!r}: there is no " in problem and "config/experiment/" in problem
    assert near in remedy


@pytest.mark.parametrize("group", ["data", "tensors", "model"])
def test_a_choice_that_was_not_made(config: Path, group: str) -> None:
    path = config / DIGITS
    path.write_text("".join(line for line in path.read_text().splitlines(True) if f"/{group}:" not in line))
    problem, remedy = refusal(config)
    assert problem.endswith(f"{DIGITS}: no {group} is chosen")
    assert f"`- override /{group}: <name>`" in remedy


def test_a_key_that_is_missing(config: Path) -> None:
    edit(config, "tensors/gray28.yaml", "height: 28\n", "")
    problem, _ = refusal(config)
    assert problem.endswith("config/tensors/gray28.yaml: tensors.height is missing")


def test_a_section_cannot_be_changed_afterwards(config: Path) -> None:
    # What trial.json shows is what was trained with.
    experiment: Experiment = compose_experiment(config, "digits")
    with pytest.raises(ValueError, match="frozen"):
        experiment.config.train.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.freeze=2", "train.freeze is 2, but model.pretrained is none"),
        ("train.keep_statistics=true", "train.keep_statistics is true, but model.pretrained is none"),
        ("loss=dice_ce", "loss.name is 'dice_ce', which is for masks"),
        ("train.monitor=dice", "train.monitor is 'dice', which classification does not measure"),
        ("model.window={height: 16, width: 16}", "model.window is for masks"),
    ],
)
def test_values_that_are_wrong_together(config: Path, override: str, words: str) -> None:
    problem, remedy = refusal(config, override)
    assert words in problem and remedy


def test_labels_are_mixed_for_cross_entropy_alone(config: Path) -> None:
    for overrides in (["augment.mixup=0.2", "loss=focal"], ["augment.cutmix=1", "loss=focal"]):
        with pytest.raises(ConfigError, match="mixes labels"):
            compose_experiment(config, "digits", overrides)
