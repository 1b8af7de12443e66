"""Virtual environments of links to what is installed here: with some packages and what they need, and no others."""

import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

# conda-forge's names of what PyPI calls otherwise.
PYPI = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
NOT_PYTHON = {"python", "pip"}


def link_environment(names: list[str], root: Path) -> Path:
    """Make an environment.

    Args:
        names: packages, as PyPI or conda-forge calls them.
        root: the folder to make it in.

    Returns:
        Its Python.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(root)}))
    installed = Path(sysconfig.get_path("purelib"))
    for package in _with_needs([PYPI.get(name, name) for name in names if name not in NOT_PYTHON]):
        for file in package.files or []:
            source = Path(str(package.locate_file(file)))
            if source.is_relative_to(installed) and source.suffix != ".pyc":
                link = site / source.relative_to(installed)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(source)
    return root / "bin/python"


def _with_needs(names: list[str]) -> list[Distribution]:
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
