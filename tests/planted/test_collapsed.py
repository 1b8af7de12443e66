"""A model that says one class whatever it sees: it would be served, and its accuracy would look like a number."""

import pytest
from conftest import Project
from stopped import check_passes, check_stopped

SELECT = "src/imagewright/select/choose.py"
COPIED = '    shutil.copyfile(trials / best / "model.safetensors", out / "model.safetensors")\n'
ZEROED = """    from safetensors.torch import load_file, save_file
    weights = load_file(out / "model.safetensors")
    zeroed = {{name: value * 0 if "{part}" in name else value for name, value in weights.items()}}
    save_file(zeroed, out / "model.safetensors")
"""
STEP = "loss = self.loss_function(self.model(images), targets)\n"


def check_gate_stops(built: Project, project: Project, experiment: str, *words: str) -> None:
    done = project.snakemake("gate_all", "--config", f"experiments={experiment}")
    gate = f"results/gate/{experiment}/gate.json"
    check_stopped(project, done, "the gate says no", "collapsed", f"logs/{gate[8:]}", *words, absent=[gate])
    evidence = project.json(f"logs/gate/{experiment}/gate.json")
    assert evidence["passed"] is False
    assert any("collapsed" in reason for reason in evidence["reasons"])
    check_passes(built, gate)
    assert built.json(gate)["passed"] is True


@pytest.mark.parametrize(
    ("experiment", "part", "always"),
    [("digits8", "backbone.fc.", "0"), pytest.param("shapes", "backbone.", "background", marks=pytest.mark.proof)],
)
def test_weights_zeroed_when_saved(built: Project, project: Project, experiment: str, part: str, always: str) -> None:
    project.edit(SELECT, COPIED, COPIED + ZEROED.format(part=part))
    check_gate_stops(
        built, project, experiment, f"every decision is {always!r}", f"no better than always saying {always!r}"
    )


@pytest.mark.proof
def test_trained_to_say_one_class(built: Project, project: Project) -> None:
    # Every label is lost on the way to the loss. The curve and the weights agree, so no earlier stage can object.
    project.edit("src/imagewright/train/loop.py", STEP, STEP.replace("targets)", "torch.zeros_like(targets))"))
    check_gate_stops(built, project, "digits8", "every decision is '0'")
