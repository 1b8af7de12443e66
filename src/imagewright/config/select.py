"""What `select` reads: the names of the trials and the metric that ranks them."""

from imagewright.config.section import Section
from imagewright.config.train import Metric


class SelectSection(Section):
    """Derived from an experiment; there is no `config/select/`."""

    trials: list[str]
    monitor: Metric
    batch_size: int
    threads: int
