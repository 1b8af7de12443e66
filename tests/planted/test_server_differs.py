"""A server that does not answer what was evaluated: a stub, another normalisation, logits as probabilities, an error.

Each of them was deployed by somebody, and the numbers on the model's page were about something else.
"""

import pytest
from conftest import Project
from stopped import check_passes, check_stopped

MODEL, BATCHING, ANSWERS = (f"src/imagewright/serve/{name}.py" for name in ("model", "batching", "answers"))
ASKED = "return self._engine(images)"
DECODED = "answers = _tried(self._model.answer, np.stack(images))"
BEST = "best = int(order[0])"
MASK = "    return indices\n"


def check_gate_stops(built: Project, project: Project, experiment: str, *words: str) -> None:
    done = project.snakemake("gate_all", "--config", f"experiments={experiment}")
    gate = f"results/gate/{experiment}/gate.json"
    check_stopped(project, done, *words, absent=[gate])
    check_passes(built, gate)
    assert built.json(gate)["runtimes"]["http"]["passed"] is True


@pytest.mark.parametrize(
    ("planted", "wrong"),
    [
        # Half the brightness: what a second division does.
        (DECODED, DECODED.replace("np.stack(images)", "np.stack(images) // 2")),
        # Light on dark, as some data sets are stored.
        (DECODED, DECODED.replace("np.stack(images)", "255 - np.stack(images)")),
    ],
    ids=["scaled twice", "inverted"],
)
def test_another_normalisation(built: Project, project: Project, planted: str, wrong: str) -> None:
    project.edit(BATCHING, planted, wrong)
    check_gate_stops(built, project, "digits8", "http: largest difference of a probability", "gate.http.max_abs_diff")


def test_logits_passed_as_probabilities(built: Project, project: Project) -> None:
    # The order of the classes is the same, so that every label is right.
    project.edit(MODEL, ASKED, ASKED.replace("self._engine(images)", "np.log(self._engine(images) + 1e-9)"))
    check_gate_stops(built, project, "digits8", "holds no probabilities")


@pytest.mark.slow
def test_a_stub(built: Project, project: Project) -> None:
    one = "np.eye(len(served.classes), dtype=np.float32)[0]"
    project.edit(ANSWERS, BEST, f"{BEST}\n    answer = Answer(answer.image, {one})")
    check_gate_stops(built, project, "digits8", "http: share of decisions that differ")


@pytest.mark.proof
def test_a_stub_of_masks(built: Project, project: Project) -> None:
    project.edit(ANSWERS, MASK, MASK.replace("indices", "np.zeros_like(indices)"))
    check_gate_stops(built, project, "shapes", "http: share of decisions that differ")


@pytest.mark.slow
def test_a_server_that_always_raises(built: Project, project: Project) -> None:
    project.edit(MODEL, ASKED, ASKED.replace("(images)", "(images[0])"))
    check_gate_stops(built, project, "digits8", "the server answered", "with 500")


@pytest.mark.proof
def test_an_error_that_is_called_a_success(built: Project, project: Project) -> None:
    # One of the services said 200 and "unknown", and its load test was happy.
    project.edit(ANSWERS, BEST, f"{BEST}\n    return {{'label': 'unknown'}}")
    check_gate_stops(built, project, "digits8", "is no prediction", "unknown")


@pytest.mark.proof
def test_a_server_that_does_not_start(built: Project, project: Project) -> None:
    project.edit(MODEL, "def open_served(", "raise RuntimeError('not today')\n\n\ndef open_served(")
    check_gate_stops(built, project, "digits8", "the server does not start", "not today")
