"""The whole workflow on tiny data: what it builds, and that a second call has nothing to do."""

from conftest import Project


def test_every_stage_builds_and_the_gate_passes(built: Project) -> None:
    for experiment in ("digits8", "shapes"):
        bundle = built.json(f"results/bundle/{experiment}/bundle.json")
        gate = built.json(f"results/gate/{experiment}/gate.json")
        assert gate["passed"] is True
        assert set(gate["runtimes"]) == {"torch", "onnx", "int8"}
        assert bundle["default_runtime"] in bundle["runtimes"]
        assert set(bundle["fingerprints"]) == {
            *("data", "split", "tensors", "config", "code", "environment", "weights", "onnx"),
        }


def test_second_call_has_nothing_to_do(built: Project) -> None:
    done = built.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout
