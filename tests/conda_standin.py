"""`conda` as far as Snakemake calls it, for a test: py-rattler solves and installs for real, from a channel on disk.

The channel has every package of `envs/`, in the version that is listed there. A package has no more in it than its
name; the `python` of an environment sees, of what is installed on this machine, the packages with these names and what
they need. So a dependency that cannot be parsed, or two that exclude each other by their versions, stop an environment;
what a file forgets is not there to be imported. Whether conda-forge has these packages is another question.
"""

import asyncio
import hashlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml
from linked_environment import link_environment

HOME = "CONDA_STANDIN"
"""Names the folder that `make_conda` made, for the program and for the environments."""
NAMES = "share/names"
ACTIVATE = """\
export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"
"""
CONDA = """\
#!/bin/sh
export {home}="{folder}"
exec "{python}" "{program}" "$@"
"""
PYTHON = """\
#!/bin/sh
exec "$CONDA_PREFIX/linked/bin/python" "$@"
"""


def make_conda(folder: Path, environments: list[Path]) -> Path:
    """Make the channel and the program.

    Args:
        folder: where to.
        environments: the files of `envs/`.

    Returns:
        The folder with `conda`, for the path.
    """
    programs, channel = folder / "bin", folder / "channel"
    (channel / "noarch").mkdir(parents=True)
    programs.mkdir()
    versions: dict[str, set[str]] = {"pip": {"26.0"}}
    for path in environments:
        for entry in yaml.safe_load(path.read_text())["dependencies"]:
            if isinstance(entry, str) and "=" in entry:
                name, _, version = entry.partition("=")
                versions.setdefault(name, set()).add(version)
    for name, found in versions.items():
        for version in found:
            _package(channel, name, version)
    from rattler.index import index_fs

    asyncio.run(index_fs(channel))
    _script(programs / "conda", CONDA.format(home=HOME, folder=folder, python=sys.executable, program=__file__))
    (programs / "activate").write_text(ACTIVATE)
    return programs


def _package(channel: Path, name: str, version: str) -> None:
    """A package in conda's format of old: a tar archive that describes itself."""
    files = {"bin/python": PYTHON} if name == "python" else {f"{NAMES}/{name}": f"{version}\n"}
    about = {
        "name": name, "version": version, "build": "0", "build_number": 0, "depends": [], "subdir": "noarch",
        "noarch": "generic", "arch": None, "platform": None, "license": "none", "timestamp": 1_700_000_000_000,
    }  # fmt: skip
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "size_in_bytes": len(text.encode()),
        }
        for path, text in files.items()
    ]
    content = {
        "info/index.json": json.dumps(about),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "\n".join(files) + "\n",
        **files,
    }
    with tarfile.open(channel / "noarch" / f"{name}-{version}-0.tar.bz2", "w:bz2") as archive:
        for path, text in content.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text.encode()), 0o755 if path.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(text.encode()))


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


async def _create(file: Path, prefix: Path, home: Path) -> None:
    """`conda env create`: every dependency parsed strictly, solved together, installed."""
    from rattler import MatchSpec, VirtualPackage, install, solve

    dependencies = yaml.safe_load(file.read_text())["dependencies"]
    wanted = [MatchSpec(entry, strict=True) for entry in dependencies if isinstance(entry, str)]
    records = await solve(
        sources=[(home / "channel").as_uri()], specs=wanted, platforms=["linux-64", "noarch"],
        virtual_packages=VirtualPackage.detect(),
    )  # fmt: skip
    await install(records=records, target_prefix=prefix, cache_dir=home / "packages", show_progress=False)
    by_pip = [name.partition("==")[0] for entry in dependencies if isinstance(entry, dict) for name in entry["pip"]]
    names = [path.name for path in (prefix / NAMES).iterdir()]
    link_environment([*names, *by_pip], prefix / "linked")


def main(arguments: list[str]) -> Any:
    """What Snakemake asks of conda, answered; anything else is an error."""
    home = Path(os.environ[HOME])
    with (home / "calls.log").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")

    def given(option: str) -> Path:
        return Path(arguments[arguments.index(option) + 1])

    if arguments == ["--version"]:
        return print("conda 26.9.0")
    if arguments == ["info", "--json"]:
        return print(json.dumps({"conda_prefix": str(home), "platform": "linux-64"}))
    if arguments[:2] == ["config", "--get"]:
        return print(json.dumps({"get": {"channel_priority": "strict"}}))
    if arguments[:1] == ["clean"]:
        return None
    if arguments[:2] == ["env", "create"]:
        return asyncio.run(_create(given("--file"), given("--prefix"), home))
    sys.exit(f"conda {' '.join(arguments)}: Snakemake was not known to call this")


if __name__ == "__main__":
    main(sys.argv[1:])
