"""What the image of the server holds: exactly the packages of the extra `serve` serve a bundle, and they are small."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from checkout import CHECKOUT
from conftest import Project

pytestmark = pytest.mark.slow

BUDGET_MB = 400
INSTALL_S, START_S, STOP_S = 300, 60, 30
ABSENT = ("torch", "timm", "monai", "pandas", "pyarrow", "snakemake", "streamlit")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment with what container/serve/Dockerfile installs."""
    folder = tmp_path_factory.mktemp("serve") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=INSTALL_S)
    install = [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-c", "requirements.lock"]
    subprocess.run([*install, ".[serve]"], cwd=CHECKOUT, check=True, timeout=INSTALL_S)
    return folder


def test_the_dockerfile_installs_this() -> None:
    text = (CHECKOUT / "container/serve/Dockerfile").read_text()
    assert "pip install -c requirements.lock '.[serve]'" in text
    assert "USER 10001" in text and "HEALTHCHECK" in text


def test_they_are_small_and_none_trains(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
    assert 50 < size <= BUDGET_MB
    for name in ABSENT:
        assert not (packages / name).exists(), name


def test_they_serve(environment: Path, built: Project, tmp_path: Path) -> None:
    address = tmp_path / "address"
    command = [environment / "bin/imagewright", "serve", "results/bundle/digits8", "--port", "0", "--ready", address]
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=built.root, env=variables, stdout=log, stderr=log)
    try:
        end = time.monotonic() + START_S
        while not address.is_file():
            assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.1)
        picture = next((built.root / "data/raw/digits8/3").iterdir())
        with httpx.Client(base_url=address.read_text(), timeout=START_S, trust_env=False) as client:
            answer = client.post("/predict", files={"file": picture.read_bytes()})
        assert answer.status_code == 200 and answer.json()["predictions"][0]["label"] == "3"
        assert answer.headers["X-Bundle-Id"] == built.json("results/bundle/digits8/bundle.json")["id"]
    finally:
        process.terminate()
        assert process.wait(STOP_S) == 0
