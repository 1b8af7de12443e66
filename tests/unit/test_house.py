"""The house rules: what keeps a project of many small files readable for the next person who opens it."""

import ast
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from imagewright.config.resolve import HERE

CHECKOUT = Path(__file__).parents[2]
RULES = sorted((CHECKOUT / "workflow/rules").glob("*.smk"))
CONFIGS = sorted(path for path in (CHECKOUT / "config").glob("*/*.yaml") if path.parent.name != "experiment")
ENVIRONMENTS = sorted((CHECKOUT / "envs").glob("*.yaml"))
SCRIPTS = sorted((CHECKOUT / "scripts").glob("*.py"))
MODULES = sorted((CHECKOUT / "src").rglob("*.py"))
ORDER = [
    "input",
    "output",
    "log",
    "benchmark",
    "localrule",
    "conda",
    "threads",
    "resources",
    "params",
    "message",
    "shell",
]
OPTIONAL = {"localrule", "params", "message"}
SHARED_BY = 2
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "prometheus_client": "prometheus-client"}
# What stands below these keys is named by a library or by the data.
FREE = {"arguments", "classes"}


def relative(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def test_no_two_files_of_tests_have_one_name() -> None:
    # pytest takes the second one for the first, and collects neither.
    names = [path.name for path in (CHECKOUT / "tests").rglob("test_*.py")]
    assert len(names) > 50 and sorted(names) == sorted(set(names))


def test_imports_only_go_down() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout and not re.search(r"\b0 kept", done.stdout)


def rules(path: Path) -> dict[str, list[str]]:
    """Each rule's lines, without the empty ones around it."""
    parts = re.split(r"^(?=\S)", path.read_text(), flags=re.MULTILINE)
    found = {}
    for part in parts:
        if match := re.match(r"rule (\w+):", part):
            found[match.group(1)] = part.strip().splitlines()
    return found


ALL_RULES = {name: lines for path in RULES for name, lines in rules(path).items()}


def test_there_are_rules() -> None:
    assert {"fetch", "index", "tensors", "train", "select", "evaluate", "export", "gate", "bundle"} <= set(ALL_RULES)


@pytest.mark.parametrize("rule", ALL_RULES)
def test_a_rule_reads_like_a_sentence(rule: str) -> None:
    lines = ALL_RULES[rule]
    directives = [match.group(1) for line in lines if (match := re.match(r"    (\w+):", line))]
    assert [name for name in ORDER if name in directives] == directives
    assert set(ORDER) - set(directives) <= OPTIONAL
    assert len(lines) <= 30


def test_what_runs_here_is_what_a_plan_takes_for_it() -> None:
    assert {name for name, lines in ALL_RULES.items() if "    localrule: True" in lines} == set(HERE)


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=relative)
def test_conda_has_the_versions_of_the_lock(path: Path) -> None:
    # One version on the laptop and another on the cluster give other bits, and nobody knows why.
    locked: dict[str, set[str]] = {}
    for line in (CHECKOUT / "requirements.lock").read_text().splitlines():
        if match := re.match(r"([\w.-]+)==([\w.+]+)", line):
            locked.setdefault(match.group(1), set()).add(match.group(2))
    entries = yaml.safe_load(path.read_text())["dependencies"]
    from_pip = [entry for part in entries if isinstance(part, dict) for entry in part["pip"]]
    # pip itself is there to install those, in whatever version conda has.
    from_conda = [entry for entry in entries if isinstance(entry, str) and entry != "pip"]
    packages = [entry.replace("==", "=").split("=") for entry in from_conda + from_pip]
    assert len(packages) > 5
    for name, version in packages:
        if name != "python":
            assert version in locked[CONDA_NAMES.get(name, name)], name


def undocumented(text: str) -> list[str]:
    """Keys with a value of their own that no comment above speaks for; one comment may speak for two neighbours."""
    bare, since, free, seen = [], SHARED_BY, -1, set()
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        match = re.match(r"\s*([\w-]+):(\s+\S.*)?$", line)
        if not line.strip():
            since = SHARED_BY
        elif line.lstrip().startswith("#"):
            since = 0
        elif match and not (0 <= free < indent):
            key, value = match.groups()
            free = indent if key in FREE else -1
            # A section's heading needs no words where its keys have them.
            if value or key in FREE:
                if since >= SHARED_BY and key not in seen:
                    bare.append(key)
                since += 1
                seen.add(key)
    return bare


@pytest.mark.parametrize("path", CONFIGS, ids=relative)
def test_every_key_has_a_comment_above_it(path: Path) -> None:
    assert undocumented(path.read_text()) == []


def test_a_key_without_a_comment_is_found() -> None:
    text = "# Size.\nheight: 1\nwidth: 2\ndepth: 3\n\ncolour: gray\nsplit:\n  # Share.\n  val: 0.1\n\n  seed: 0\n"
    assert undocumented(text) == ["depth", "colour", "seed"]


def test_every_script_explains_itself() -> None:
    def ask(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, path, "--help"], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(SCRIPTS, pool.map(ask, SCRIPTS), strict=True))
    assert len(answers) > 9
    for path, done in answers.items():
        assert done.returncode == 0, done.stderr
        assert re.search(rf"Example:\s+python {relative(path)} ", done.stdout), relative(path)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert not path.name.startswith("_") or path.name == "__init__.py"
    tree = ast.parse(path.read_text())
    assert (ast.get_docstring(tree) or "").strip()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


def test_every_experiment_is_a_model_in_dvc_yaml() -> None:
    artifacts = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["artifacts"]
    experiments = {path.stem for path in (CHECKOUT / "config/experiment").glob("*.yaml")}
    assert artifacts == {name: {"path": f"results/bundle/{name}", "type": "model"} for name in experiments}
