"""The machine types that a cloud lets, what they cost, and the cheapest one for a job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from imagewright.errors import ConfigError

DEFAULT_CARD = "nvidia-l4"
"""The card of a job that asks for one and does not say which (`gpu_model`)."""


@dataclass(frozen=True)
class Machine:
    """A machine type.

    Attributes:
        name: as the cloud calls it.
        cpus: virtual ones.
        memory_mb: in MB of 2**20 bytes.
        card: the model of its GPUs, or None.
        cards: how many it has.
        price: in dollars an hour; None where nobody has written it down.
        spot: the same for one that can be taken away at any moment.
    """

    name: str
    cpus: int
    memory_mb: int
    card: str | None = None
    cards: int = 0
    price: float | None = None
    spot: float | None = None


@dataclass(frozen=True)
class Machines:
    """A list of machine types.

    Attributes:
        region: where the prices hold.
        priced: the day that they were read.
        types: the machine types.
    """

    region: str
    priced: date
    types: Sequence[Machine]

    @classmethod
    def read(cls, path: Path) -> "Machines":
        """Read a YAML file: `region`, `priced`, and for each name in `machines` the attributes of a `Machine`.

        Raises:
            ConfigError: the file is missing or holds something else.
        """
        try:
            content = yaml.safe_load(path.read_text())
            types = [Machine(name, **about) for name, about in content["machines"].items()]
            return cls(str(content["region"]), date.fromisoformat(str(content["priced"])), types)
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"{path}: not a list of machine types: {type(error).__name__}: {error}",
                "take workflow/profiles/gcp/machines.yaml as a pattern",
            ) from error

    def cheapest(self, cpus: int, memory_mb: int, cards: int, card: str | None = None) -> Machine:
        """The cheapest machine type on which a job fits.

        Args:
            cpus: how many it asks for.
            memory_mb: how much memory.
            cards: how many GPUs: the machine has exactly these.
            card: their model; by default `DEFAULT_CARD`.

        Raises:
            ConfigError: there is none.
        """
        wanted = (card or DEFAULT_CARD) if cards else None
        fitting = [
            machine
            for machine in self.types
            if (machine.card, machine.cards) == (wanted, cards)
            and machine.cpus >= cpus
            and machine.memory_mb >= memory_mb
        ]
        if not fitting:
            gpus = f", {cards} × {wanted}" if cards else ""
            raise ConfigError(
                f"no machine type has {cpus} CPUs, {memory_mb} MB of memory{gpus}",
                "ask for less, or add one to workflow/profiles/gcp/machines.yaml",
            )
        # One without a price comes last, and the smaller one first.
        return min(fitting, key=lambda one: (one.price is None, one.price or 0, one.cpus, one.memory_mb))


def asked(resources: Any, threads: int) -> tuple[int, int, int, str | None]:
    """What a job asks for, by the names that Snakemake has for it, as `Machines.cheapest` takes it."""
    return threads, int(resources.get("mem_mb") or 0), int(resources.get("gpu") or 0), resources.get("gpu_model")
