"""`imagewright plan`: the jobs, their machines, time and money, before a run and after it."""

import re
from dataclasses import replace

import pytest
from conftest import Project

SETTINGS = {
    "PROJECT": "our-project",
    "REGION": "europe-west4",
    "STORE": "gs://b",
    "CONTAINER": "image:1",
    "SERVICE_ACCOUNT": "vm@our-project",
}
TOLD = {f"SNAKEMAKE_IMAGEWRIGHT_BATCH_{name}": value for name, value in SETTINGS.items()} | {"NO_GCE_CHECK": "true"}
PLAN = ("imagewright", "plan", "--profile", "gcp")


@pytest.fixture
def told(project: Project) -> Project:
    return replace(project, variables=TOLD)


def rows(printed: str) -> dict[str, list[str]]:
    """The lines of a table, by job."""
    table = printed[printed.index("\njob ") :] if "\njob " in printed else printed
    lines = [re.split(r" {2,}", line) for line in table.split("\n\n")[0].strip().splitlines()]
    return {line[0]: line[1:] for line in lines[1:]}


def test_nothing_to_do(told: Project) -> None:
    assert told.run(*PLAN).stdout.endswith("nothing to do\n")


def test_before_and_after_a_run(told: Project) -> None:
    # A slower training, whose time is known from the last run, at a price that is ours.
    prices = told.root / "workflow/profiles/gcp/machines.yaml"
    prices.write_text(re.sub(r"price: \S+, spot: \S+}", "price: 3600, spot: 360}", prices.read_text()))
    told.edit("config/experiment/digits8.yaml", "epochs: 6", "epochs: 7")
    planned = rows(told.run(*PLAN).stdout)
    stages = {job.split()[0] for job in planned}
    assert stages == {"train", "select", "evaluate", "export", "gate", "bundle", "report"}
    assert not any("shapes" in job for job in planned)
    machine, cards, time, memory, dollars = planned["train digits8/default"]
    assert (machine, cards) == ("g2-standard-4*", "1 nvidia-l4")
    seconds = benchmark(told, "train/digits8/default")
    assert time == f"0:00:{round(seconds):02d}" and re.fullmatch(r"\d+ MB", memory)
    # 360 dollars an hour on spot are ten cents a second.
    assert float(dollars) == pytest.approx(seconds / 10, abs=1e-4)
    assert planned["bundle digits8"][0] == "here" and float(planned["bundle digits8"][-1]) == 0
    # Looking back before anything has run.
    assert "not run" in rows(told.run("imagewright", "plan", "--took").stdout)["train digits8/default"]
    done = told.snakemake("train_all")
    assert done.returncode == 0, done.stdout[-3000:]
    looked = rows(told.run("imagewright", "plan", "--took").stdout)
    assert looked["train digits8/default"][2] == f"0:00:{round(benchmark(told, 'train/digits8/default')):02d}"
    assert "not run" in looked["select digits8"]


def test_what_never_ran_is_unknown(told: Project) -> None:
    (told.root / "results/benchmark/index/shapes.tsv").unlink()
    printed = told.run(*PLAN, "--", "-F", "index_all").stdout
    assert rows(printed)["index shapes"] == ["e2-standard-4", "-", "unknown", "unknown", "unknown"]
    assert "without 1 whose time is unknown" in printed


def test_other_places(told: Project) -> None:
    on_slurm = rows(told.run("imagewright", "plan", "--profile", "slurm", "--", "-F", "train_all").stdout)
    assert on_slurm["train shapes/default"][:2] == ["-", "1"]
    here = rows(told.run("imagewright", "plan", "--", "-F", "train_all").stdout)
    assert set(here) == set(on_slurm)


def test_what_cannot_be_planned(told: Project) -> None:
    done = told.run("imagewright", "plan", "--profile", "nowhere")
    assert done.returncode == 1 and "error: there is no profile nowhere" in done.stdout
    (told.root / "runs/plan.json").unlink(missing_ok=True)
    done = told.run("imagewright", "plan", "--took")
    assert done.returncode == 1 and "error: no plan was made here" in done.stdout
    told.edit("config/experiment/digits8.yaml", "epochs: 6", "epochs: none")
    done = told.run(*PLAN)
    assert done.returncode == 1 and "error: snakemake cannot plan" in done.stdout and "epochs" in done.stdout


def benchmark(project: Project, name: str) -> float:
    lines = (project.root / f"results/benchmark/{name}.tsv").read_text().splitlines()
    return float(dict(zip(*(line.split("\t") for line in lines), strict=True))["s"])
