"""Code is an input too: one fingerprint a stage, of its script and of all that it imports from this package."""

import ast
import hashlib
import io
import tokenize
from functools import cache
from pathlib import Path

from imagewright.files import sha256, sha256_json

UNCOUNTED = {"tracking"}


def code_fingerprint(script: Path, source: Path, started: Path | None = None) -> dict[str, str]:
    """Fingerprint a script and every module of the package that it imports, directly or not.

    Comments, blank lines and trailing spaces do not count. Imports inside functions do, and so do templates. What only
    tells others of a run (`tracking`) does not: no result depends on it.

    Args:
        script: for example `scripts/train.py`.
        source: the folder `src`.
        started: a module that the script starts as a process of its own.

    Returns:
        `{"<file>": "<sha256>", ..., "all": "<sha256 of the rest>"}`, files named from `source`'s parent.
    """
    found: dict[Path, str] = {}
    queue = [script, *([started] if started else [])]
    while queue:
        file = queue.pop()
        if file not in found:
            found[file] = _code_sha256(file)
            queue += sorted(path for path in _imported(file, source) if path.parent.name not in UNCOUNTED)
    found |= {path: sha256(path) for file in list(found) for path in (file.parent / "templates").glob("*")}
    root = source.parent
    parts = {str(file.relative_to(root)): found[file] for file in sorted(found)}
    return {**parts, "all": sha256_json(parts)}


@cache
def _code_sha256(file: Path) -> str:
    text = file.read_text()
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    code = "\n".join(line.rstrip() for line in lines if line.strip())
    return hashlib.sha256(code.encode()).hexdigest()


@cache
def _imported(file: Path, source: Path) -> frozenset[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    files: set[Path] = set()
    for name in names:
        parts = name.split(".")
        # Importing a.b.c runs a/__init__.py and a/b/__init__.py as well.
        for end in range(1, len(parts) + 1):
            path = source.joinpath(*parts[:end])
            files.update(file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
    return frozenset(files)
