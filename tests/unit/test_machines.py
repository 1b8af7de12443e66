"""The cheapest machine type on which a job fits."""

from pathlib import Path

import pytest

from imagewright.errors import ConfigError
from imagewright.machines import Machines, asked

OURS = Path(__file__).parents[2] / "workflow/profiles/gcp/machines.yaml"
LIST = """\
region: here
priced: 2026-07-22
machines:
  small: {cpus: 2, memory_mb: 4096, price: 0.1, spot: 0.05}
  wide: {cpus: 8, memory_mb: 4096, price: 0.3}
  high: {cpus: 2, memory_mb: 65536, price: 0.2}
  unpriced: {cpus: 4, memory_mb: 8192}
  one card: {cpus: 4, memory_mb: 16384, card: nvidia-l4, cards: 1, price: 0.7}
  two cards: {cpus: 8, memory_mb: 32768, card: nvidia-l4, cards: 2, price: 1.5}
  another card: {cpus: 4, memory_mb: 16384, card: nvidia-tesla-t4, cards: 1, price: 0.5}
"""


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    (tmp_path / "machines.yaml").write_text(LIST)
    return Machines.read(tmp_path / "machines.yaml")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ((1, 1000, 0), "small"),
        ((4, 1000, 0), "wide"),
        ((2, 8192, 0), "high"),
        # Nobody knows what it costs, so it is the last resort.
        ((4, 8192, 0), "unpriced"),
        ((2, 8000, 1), "one card"),
        ((2, 8000, 1, "nvidia-tesla-t4"), "another card"),
        ((2, 8000, 2), "two cards"),
    ],
)
def test_the_cheapest_that_fits(machines: Machines, wanted: tuple[int, int, int], name: str) -> None:
    assert machines.cheapest(*wanted).name == name


@pytest.mark.parametrize("wanted", [(99, 1, 0), (1, 99999999, 0), (1, 1, 3), (1, 1, 1, "nvidia-b300")])
def test_none_fits(machines: Machines, wanted: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="no machine type has"):
        machines.cheapest(*wanted)


@pytest.mark.parametrize("text", ["", "machines: {a: {cpus: 1}}", LIST.replace("cpus: 2", "cpu: 2"), "[", LIST[:13]])
def test_not_a_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "machines.yaml").write_text(text)
    with pytest.raises(ConfigError, match="not a list of machine types"):
        Machines.read(tmp_path / "machines.yaml")


def test_snakemakes_names() -> None:
    assert asked({"mem_mb": 8000, "gpu": 1, "gpu_model": "nvidia-l4"}, 2) == (2, 8000, 1, "nvidia-l4")
    assert asked({}, 1) == (1, 0, 0, None)


def test_our_own_list() -> None:
    ours = Machines.read(OURS)
    assert len({one.name for one in ours.types}) == len(ours.types)
    for one in ours.types:
        assert one.price and one.spot and one.spot < one.price, one
        assert (one.card is None) == (one.cards == 0), one
    # Every rule of the workflow has a machine, and a training with several processes, too.
    assert ours.cheapest(4, 4000, 0).name == "e2-standard-4"
    assert ours.cheapest(2, 8000, 1).name == "g2-standard-4"
    assert [ours.cheapest(2 * cards, 8000, cards).cards for cards in (2, 4, 8)] == [2, 4, 8]
