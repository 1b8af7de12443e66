"""What `report` reads: the experiments to show, in order."""

from imagewright.config.section import Section


class ReportSection(Section):
    """Derived from the list of experiments; there is no `config/report/`."""

    experiments: list[str]
