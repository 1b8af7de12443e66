"""How many processes a training takes itself to be."""

import pytest

from imagewright.config.train import TrainConfig
from imagewright.errors import ModelError
from imagewright.train.processes import open_fabric


def test_in_a_slurm_job_it_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # Slurm starts Snakemake, which starts the training: ranks are none of Slurm's business.
    for name, value in {"JOB_ID": "7", "NTASKS": "4", "PROCID": "2", "LOCALID": "2", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    fabric = open_fabric(TrainConfig())
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_another_number_of_processes_than_the_config_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ModelError, match="but 3 processes were started"):
        open_fabric(TrainConfig())
