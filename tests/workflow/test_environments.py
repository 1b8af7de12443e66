"""Each rule's conda environment has what its script imports: nothing is missing, whatever else is installed here.

A virtual environment is made of exactly the packages of `envs/<family>.yaml` and what they need themselves, by links to
the installed ones; in it, everything is imported that the script and the modules behind it import, anywhere in them.
"""

import ast
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from imagewright.config.code import code_fingerprint
from imagewright.config.resolve import SCRIPTS

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
# conda-forge's names of what PyPI calls otherwise.
PYPI = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
NOT_PYTHON = {"python", "pip"}
TIMEOUT_S = 300


def families() -> dict[str, str]:
    """The environment of each rule."""
    found = {}
    for path in (CHECKOUT / "workflow/rules").glob("*.smk"):
        for rule, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", path.read_text(), re.MULTILINE):
            if match := re.search(r'"\.\./\.\./envs/(\w+)\.yaml"', body):
                found[rule] = match.group(1)
    return found


FAMILIES = families()


def listed(family: str) -> list[str]:
    """The Python packages of an environment, by their names on PyPI."""
    names = []
    for entry in yaml.safe_load((CHECKOUT / f"envs/{family}.yaml").read_text())["dependencies"]:
        packages = [entry] if isinstance(entry, str) else entry["pip"]
        names += [re.split(r"[=<>]", package)[0].strip() for package in packages]
    return [PYPI.get(name, name) for name in names if name not in NOT_PYTHON]


def with_needs(names: list[str]) -> list[Distribution]:
    """These packages and what they need, as far as it is needed here."""
    found: dict[str, Distribution] = {}
    queue: list[tuple[str, frozenset[str]]] = [(name, frozenset()) for name in names]
    seen = set()
    while queue:
        name, extras = queue.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        package = found.setdefault(name.lower().replace("_", "-"), distribution(name))
        for text in package.requires or []:
            need = Requirement(text)
            if any(not need.marker or need.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                queue.append((need.name, frozenset(need.extras)))
    return list(found.values())


def make_environment(family: str, root: Path) -> Path:
    """A virtual environment of links; its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(root)}))
    installed = Path(sysconfig.get_path("purelib"))
    for package in with_needs(listed(family)):
        for file in package.files or []:
            source = Path(str(package.locate_file(file)))
            if source.is_relative_to(installed) and source.suffix != ".pyc":
                link = site / source.relative_to(installed)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(source)
    return root / "bin/python"


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        family: make_environment(family, tmp_path_factory.mktemp("environments") / family)
        for family in set(FAMILIES.values())
    }


def imports(tree: ast.AST) -> Iterator[str]:
    """What is imported anywhere in it, but for what only the type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            yield f"from {node.module} import {', '.join(alias.name for alias in node.names)}"
        yield from imports(node)


def test_every_rule_has_an_environment() -> None:
    assert set(FAMILIES) == set(SCRIPTS)


@pytest.mark.parametrize("stage", SCRIPTS)
def test_what_a_script_imports_is_there(environments: dict[str, Path], stage: str) -> None:
    files = [name for name in code_fingerprint(CHECKOUT / SCRIPTS[stage], CHECKOUT / "src") if name.endswith(".py")]
    lines = {line for name in files for line in imports(ast.parse((CHECKOUT / name).read_text()))}
    assert len(lines) > 10
    # Ours first: they mend torchvision beside a PyTorch for the CPU.
    done = subprocess.run(
        [environments[FAMILIES[stage]], "-c", "\n".join(sorted(lines, key=lambda line: "imagewright" not in line))],
        env={"PYTHONPATH": str(CHECKOUT / "src")}, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_missing_package_is_noticed(environments: dict[str, Path]) -> None:
    # torch is no part of what indexes, and snakemake of none.
    for family, module in (("data", "torch"), ("model", "snakemake"), ("report", "lightning")):
        done = subprocess.run(
            [environments[family], "-c", f"import {module}"], capture_output=True, text=True, check=False
        )
        assert "ModuleNotFoundError" in done.stderr
