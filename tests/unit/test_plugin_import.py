"""Snakemake imports every plugin when it starts; which code runs is decided later, by the Snakefile."""

import subprocess
import sys

from conftest import Project


def test_the_plugin_imports_nothing_of_ours() -> None:
    code = "import snakemake_executor_plugin_imagewright_batch, sys; print('imagewright' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_another_checkouts_code_is_refused(unbuilt: Project) -> None:
    # As a plugin would that imports ours before the Snakefile has said where it is.
    start = "import imagewright; from snakemake.cli import main; main(['-n', '--cores', '1'])"
    done = unbuilt.run(sys.executable, "-c", start)
    assert done.returncode == 1 and "is not this checkout's code" in done.stdout
