"""What `bundle` reads: the names that it gathers from."""

from imagewright.config.section import Section


class BundleSection(Section):
    """Derived from an experiment; there is no `config/bundle/`."""

    experiment: str
    data: str
    tensors: str
    trials: list[str]
    overrides: list[str]
