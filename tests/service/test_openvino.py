"""OpenVINO as a runtime: judged where somebody asks for it, served only where it was judged."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from api_server import api_server, refusal
from conftest import Project

from imagewright.engines import open_engine
from imagewright.errors import ConfigError

DIGITS, SHAPES = "results/bundle/digits8", "results/bundle/shapes"
NEAR = 1e-4
LIMITS = "{required: true, max_flips: 0.01, max_abs_diff: 0.001, max_metric_drop: 0.01}"


def test_it_answers_as_onnx_runtime_does_and_tells_nobody(built: Project, tmp_path: Path) -> None:
    file = built.root / SHAPES / "model.onnx"
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    # In a process and a home of its own, since it counts its users there.
    code = f"""
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from imagewright.engines import open_engine
from pathlib import Path
answer, images = open_engine(Path({str(file)!r}), "openvino", 1), np.load("images.npy")
with ThreadPoolExecutor(4) as pool:
    parts = list(pool.map(lambda n: answer(images[n : n + 1]), list(range(5)) * 20))
assert all(np.array_equal(part, parts[n % 5]) for n, part in enumerate(parts))
np.save("found.npy", answer(images))
np.save("single.npy", np.concatenate(parts[:5]))
"""
    variables = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = open_engine(file, "onnx", 1)(images)
    for name in ("found", "single"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, rtol=0, atol=NEAR)
    assert {path.name for path in tmp_path.iterdir()} == {"images.npy", "found.npy", "single.npy"}


def test_where_it_is_not_installed(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match="OpenVINO is not installed") as caught:
        open_engine(built.root / DIGITS / "model.onnx", "openvino", 1)
    assert "pip install 'imagewright[openvino]'" in caught.value.remedy


def test_nobody_has_judged_it(built: Project, tmp_path: Path) -> None:
    assert "there is no runtime 'openvino'" in refusal(built.root / DIGITS, tmp_path, None, "--runtime", "openvino")


def test_a_model_that_it_does_not_take(built: Project) -> None:
    # It has a pooling that is wider than what is left of 16 pixels.
    with pytest.raises(ConfigError, match=r"model\.onnx: the runtime openvino does not take it: .*AveragePool"):
        open_engine(built.root / DIGITS / "model.onnx", "openvino", 1)


@pytest.mark.slow
def test_it_is_judged_and_served(project: Project, tmp_path: Path) -> None:
    project.edit("config/experiment/shapes.yaml", "  latency_runs: 3\n", f"  latency_runs: 3\n  openvino: {LIMITS}\n")
    done = project.snakemake("bundle_all", "--config", "experiments=shapes")
    assert done.returncode == 0, done.stdout[-3000:]
    gate, bundle = (project.json(f"{SHAPES}/{name}.json") for name in ("gate", "bundle"))
    judged = gate["runtimes"]["openvino"]
    assert judged["passed"] and judged["decisions"] > 0 and 0 < judged["max_abs_diff"] < 0.001
    assert bundle["runtimes"]["openvino"] == "model.onnx"
    # It may be the fastest; a server need not have it.
    assert bundle["default_runtime"] in ("onnx", "int8")
    picture = (project.root / "data/raw/shapes/images/02.png").read_bytes()
    said = {}
    for runtime in ("onnx", "openvino"):
        with api_server(project.root / SHAPES, tmp_path / runtime, None, "--runtime", runtime) as server:
            with server.client() as client:
                answer = client.post("/predict", files={"file": picture}).json()
            assert answer["runtime"] == runtime
        said[runtime] = answer["predictions"][0]
    assert said["openvino"]["confidence"] == pytest.approx(said["onnx"]["confidence"], abs=NEAR)
    assert list(said["openvino"]["areas"].values()) == pytest.approx(list(said["onnx"]["areas"].values()), abs=0.002)
