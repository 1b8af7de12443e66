"""What `select` reads: the trials, with the values a sweep gave them, and the metric that ranks them."""

from typing import Any

from imagewright.config.section import Section
from imagewright.config.train import Metric


class SelectSection(Section):
    """Derived from an experiment; there is no `config/select/`."""

    trials: dict[str, dict[str, Any]]
    monitor: Metric
    batch_size: int
    threads: int
