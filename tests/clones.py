"""Git clones of a project, with DVC, as two people would have them."""

import re
import shutil
from pathlib import Path

from checkout import CHECKOUT
from conftest import Project

BUCKET = "shared-cache"
TRACKED = (".gitignore", "results/.gitignore", ".dvc/config", ".dvc/.gitignore")


def publish(project: Project) -> None:
    """Make the project a Git repository, with the files that DVC and Git need."""
    for name in TRACKED:
        (project.root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(CHECKOUT / name, project.root / name)
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "config", "user.name", "A. Tester")
    git(project, "config", "user.email", "tester@example.org")
    commit(project, "Start")


def git(project: Project, *arguments: str) -> str:
    """Run a Git command that has to succeed."""
    return run(project, "git", *arguments)


def commit(project: Project, message: str) -> None:
    """Commit all that Git does not ignore."""
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", message)


def clone(project: Project, root: Path) -> Project:
    """A fresh clone: nothing but what is committed."""
    git(project, "clone", "--quiet", str(project.root), str(root))
    made = Project(root)
    git(made, "config", "user.name", "B. Tester")
    git(made, "config", "user.email", "other@example.org")
    return made


def reach(project: Project, endpoint: str) -> None:
    """Where this clone finds the bucket, which is no business of the others."""
    for key, value in (("url", f"gs://{BUCKET}"), ("endpointurl", endpoint), ("allow_anonymous_login", "true")):
        run(project, "dvc", "remote", "modify", "--local", "gcs", key, value)


def run(project: Project, *command: str) -> str:
    """Run a command that has to succeed, and return what it printed."""
    done = project.run(*command)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def messages(output: str) -> set[str]:
    """The jobs that ran, by their messages."""
    return set(re.findall(r"^Job \d+: (?!All is built)(.+)$", output, re.MULTILINE))


def is_clean(project: Project) -> bool:
    """Whether Snakemake and DVC both find nothing to do."""
    return project.planned() == set() and "up to date" in run(project, "dvc", "status")
