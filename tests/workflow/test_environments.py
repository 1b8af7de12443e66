"""Each rule's conda environment has what its script imports, and Snakemake makes it and runs the rule in it.

A virtual environment is made of exactly the packages of `envs/<family>.yaml` and what they need themselves, by links to
the installed ones; in it, everything is imported that the script and the modules behind it import, anywhere in them.
"""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conda_standin import make_conda
from conftest import Project
from linked_environment import link_environment

from imagewright.config.code import code_fingerprint
from imagewright.config.resolve import SCRIPTS

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
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
    """The packages of an environment."""
    names = []
    for entry in yaml.safe_load((CHECKOUT / f"envs/{family}.yaml").read_text())["dependencies"]:
        packages = [entry] if isinstance(entry, str) else entry["pip"]
        names += [re.split(r"[=<>]", package)[0].strip() for package in packages]
    return names


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        family: link_environment(listed(family), tmp_path_factory.mktemp("environments") / family)
        for family in set(FAMILIES.values())
    }


def imports(tree: ast.AST) -> Iterator[str]:
    """What is imported anywhere in it, but for what only the type checker sees, or what need not be there."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Try) and "ModuleNotFoundError" in {
            ast.unparse(one.type or node) for one in node.handlers
        }:
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


def test_the_workflow_runs_in_its_environments(unbuilt: Project, tmp_path: Path) -> None:
    programs = make_conda(tmp_path / "conda", sorted((CHECKOUT / "envs").glob("*.yaml")))
    project = replace(unbuilt, variables={"PATH": f"{programs}:{os.environ['PATH']}"})
    asked = ("--config", "experiments=digits8")
    done = project.snakemake("--sdm", "conda", *asked)
    assert done.returncode == 0, done.stdout[-4000:]
    calls = (programs.parent / "calls.log").read_text()
    assert calls.count("env create") == len(set(FAMILIES.values()))
    # A stage's Python is that of its environment.
    made = {path.parent.parent for path in project.root.glob(".snakemake/conda/*/linked/bin")}
    assert len(made) == len(set(FAMILIES.values()))
    # With conda or without is no reason to run anything again.
    assert project.planned(*asked) == set()
    assert project.planned("--sdm", "conda", *asked) == set()


def test_a_missing_package_is_noticed(environments: dict[str, Path]) -> None:
    # torch is no part of what indexes, and snakemake of none.
    for family, module in (("data", "torch"), ("model", "snakemake"), ("report", "lightning")):
        done = subprocess.run(
            [environments[family], "-c", f"import {module}"], capture_output=True, text=True, check=False
        )
        assert "ModuleNotFoundError" in done.stderr
