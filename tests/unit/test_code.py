"""Code is an input too: a stage runs again when code that it uses changed, and only then.

Too little, and a model is served that today's code would not make; too much, and a comment costs a day of training.
"""

import shutil
from pathlib import Path

import pytest

from imagewright.config.code import code_fingerprint
from imagewright.config.resolve import SCRIPTS, STAGES, _code_of_stages

CHECKOUT = Path(__file__).parents[2]

DATA = {"index", "tensors"}
# All five open stored tensors and build the network; all but `export` measure something.
MODEL = {"train", "select", "evaluate", "export", "gate"}
MEASURES = MODEL - {"export"}

# Whose fingerprint a module is in, from what each stage is there for.
USERS = {
    # The cellar, and what every script stands on.
    "errors.py": set(STAGES),
    "files.py": set(STAGES),
    "command.py": set(STAGES),
    "config/section.py": set(STAGES),
    # Pictures are decoded by `index` and `tensors`; whoever opens tensors does it with their writer's module.
    "imaging.py": DATA | MODEL,
    "tensors/write.py": {"tensors"} | MODEL,
    "tensors/dataset.py": MODEL,
    # Nouns of those who compute with them.
    "models/network.py": MODEL,
    "models/predict.py": {"select", "evaluate"},
    "models/precision.py": MEASURES,
    "metrics/counts.py": MEASURES,
    "metrics/scores.py": MEASURES,
    "statistics/temperature.py": {"select"},
    "statistics/bootstrap.py": {"evaluate", "gate"},
    # Names are corrected where a label or an architecture is looked up; whoever opens tensors reads by their layout.
    "config/names.py": DATA | MODEL,
    # One stage's own affair.
    "fetch/archive.py": {"fetch"},
    "index/splits.py": {"index"},
    "index/checks.py": {"index"},
    "train/losses.py": {"train"},
    "train/loop.py": {"train"},
    "train/batches.py": {"train"},
    "models/pretrained.py": {"train"},
    # Whoever builds a network builds its window.
    "models/window.py": MODEL,
    # Where runs are told of changes no result.
    "tracking/tracker.py": set(),
    "select/choose.py": {"select"},
    "evaluate/pictures.py": {"evaluate"},
    "export/int8.py": {"export"},
    "gate/judge.py": {"gate"},
    "gate/live.py": {"gate"},
    # The gate starts the server, and no import shows it.
    "features.py": {"gate"},
    "serve/app.py": {"gate"},
    "serve/answers.py": {"gate"},
    "serve/model.py": {"gate"},
    "serve/server.py": {"gate"},
    "bundle/card.py": {"bundle"},
    "bundle/record.py": {"bundle"},
    "bundle/benchmark.py": {"bundle"},
    "bundle/commit.py": {"bundle"},
    "bundle/hardware.py": {"bundle"},
    "bundle/crate.py": {"bundle"},
    "report/summary.py": {"report"},
    "report/templates/summary.html": {"report"},
    # Composing makes sections, and those are compared themselves.
    "config/compose.py": set(),
    "config/resolve.py": set(),
    # What only plans makes nothing.
    "machines.py": set(),
    "plan/table.py": set(),
    # A checkpoint knows the code that it belongs to.
    "config/code.py": {"train"},
}


def fingerprints(root: Path) -> dict[str, dict[str, str]]:
    return _code_of_stages(root)


def copied(to: Path) -> Path:
    """Files are read once in a process, so that each change needs a checkout of its own."""
    for name in ("src", "scripts"):
        shutil.copytree(CHECKOUT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return to


@pytest.fixture(scope="module")
def before() -> dict[str, dict[str, str]]:
    return fingerprints(CHECKOUT)


def changed(before: dict[str, dict[str, str]], root: Path) -> set[str]:
    after = fingerprints(root)
    return {stage for stage in STAGES if after[stage]["all"] != before[stage]["all"]}


@pytest.mark.parametrize("module", USERS)
def test_who_uses_a_module(before: dict[str, dict[str, str]], module: str) -> None:
    assert {stage for stage in STAGES if f"src/imagewright/{module}" in before[stage]} == USERS[module]


@pytest.mark.parametrize(
    "module",
    [
        "errors.py", "imaging.py", "models/network.py", "models/predict.py", "metrics/scores.py",
        "statistics/temperature.py", "config/names.py", "config/compose.py", "fetch/archive.py", "index/splits.py",
        "bundle/card.py", "report/templates/summary.html",
    ],
)  # fmt: skip
def test_a_changed_module_changes_its_users(before: dict[str, dict[str, str]], tmp_path: Path, module: str) -> None:
    root = copied(tmp_path)
    path = root / "src/imagewright" / module
    path.write_text(path.read_text() + "\n\nX = 1\n")
    assert changed(before, root) == USERS[module]


def test_a_script_is_its_stages_own(before: dict[str, dict[str, str]], tmp_path: Path) -> None:
    root = copied(tmp_path)
    for stage in ("train", "select"):
        path = root / SCRIPTS[stage]
        path.write_text(path.read_text() + "\n\nX = 1\n")
    assert changed(before, root) == {"train", "select"}


def test_comments_and_blank_lines_everywhere_change_nothing(before: dict[str, dict[str, str]], tmp_path: Path) -> None:
    root = copied(tmp_path)
    for path in [*root.rglob("*.py")]:
        lines = [
            f"# A remark.\n\n{line}  " if line.startswith("def ") else line for line in path.read_text().split("\n")
        ]
        path.write_text("# First.\n\n" + "\n".join(lines) + "\n\n# Last.\n")
    assert changed(before, root) == set()


def test_a_fingerprint_names_every_file(before: dict[str, dict[str, str]]) -> None:
    # When a person asks why a stage runs again, the two lists answer.
    assert {"scripts/train.py", "src/imagewright/train/trial.py", "src/imagewright/__init__.py"} <= set(before["train"])
    assert not {name for name in before["fetch"] if "/train/" in name or "/models/" in name}


SCRIPT = "import package.used\n"


def fingerprint(folder: Path, script: str = SCRIPT, **modules: str) -> str:
    """The fingerprint of a script beside a package of these modules."""
    (folder / "src/package").mkdir(parents=True)
    (folder / "src/package/__init__.py").touch()
    for name, text in modules.items():
        (folder / "src/package" / f"{name}.py").write_text(text)
    (folder / "run.py").write_text(script)
    return code_fingerprint(folder / "run.py", folder / "src")["all"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("def f():\n    return 1\n", True),
        ("# Why.\n\ndef f():  # what\n\n    return 1\n\n\n# End\n", True),
        ("def f():   \n    return 1  # one\n", True),
        ("def f():\n    return 2\n", False),
        ("def f():\n    return '#1'\n", False),
        ('def f():\n    """New."""\n    return 1\n', False),
        ("def f():\n    return 1\nx = 1\n", False),
    ],
)
def test_what_counts_as_code(tmp_path: Path, text: str, same: bool) -> None:
    first = fingerprint(tmp_path / "first", used="def f():\n    return 1\n")
    assert (fingerprint(tmp_path / "second", used=text) == first) is same


def test_a_hash_sign_in_a_text_is_no_comment(tmp_path: Path) -> None:
    first = fingerprint(tmp_path / "first", used="colour = '#ff0000'\n")
    assert fingerprint(tmp_path / "second", used="colour = '#00ff00'\n") != first


@pytest.mark.parametrize(
    "script",
    [
        "import package.used\n",
        "from package import used\n",
        "from package.used import f\n",
        "def main():\n    from package.used import f\n",
        "import package.between\n",
    ],
)
def test_every_way_to_import_is_seen(tmp_path: Path, script: str) -> None:
    modules = {"between": "from package import used\n", "unused": "y = 1\n"}
    first = fingerprint(tmp_path / "first", script, used="x = 1\n", **modules)
    assert fingerprint(tmp_path / "second", script, used="x = 2\n", **modules) != first
    assert fingerprint(tmp_path / "third", script, used="x = 1\n", **modules | {"unused": "y = 2\n"}) == first


def test_modules_that_import_each_other_come_to_an_end(tmp_path: Path) -> None:
    assert fingerprint(tmp_path, used="import package.other\n", other="import package.used\n")
