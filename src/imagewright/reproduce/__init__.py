"""Build an experiment again from raw data, in a folder of its own, and compare what comes out with what is recorded.

The recorded results are those in `results/`, built here or pulled. Nothing there is changed.
"""

from collections.abc import Callable
from pathlib import Path

from imagewright.config.resolve import check_pulled
from imagewright.errors import ReproduceError
from imagewright.reproduce.causes import changes
from imagewright.reproduce.facts import read_rebuilt, read_recorded
from imagewright.reproduce.scratch import PLACE, check_raw, fill, opened, remove
from imagewright.reproduce.verdict import judge
from imagewright.reproduce.workflow import build

Tell = Callable[[str], None]


def reproduce(
    root: Path, experiment: str, tell: Tell, cores: int = 2, place: Path | None = None, keep: bool = False
) -> bool:
    """Build an experiment again and tell, stage by stage, whether the results are those that are recorded.

    The folder that it was built in is removed when they are, and kept for a look when they are not.

    Args:
        root: the project's folder.
        experiment: a name in `results/bundle/`; that of a run with overrides is built with its overrides.
        tell: is given each line for the person.
        cores: what Snakemake may use; no result depends on it.
        place: where to make the folder; by default `runs/reproduce/`.
        keep: keep the folder in any case.

    Returns:
        True if everything is the same; or if the environment is another one, which may change bits, and every metric
        of the whole split lies within its recorded interval.

    Raises:
        ReproduceError: nothing is recorded, raw data is missing, the folder cannot be used, or a stage stopped.
        ConfigError: the configuration is wrong, or a pull is not finished.
    """
    check_pulled(root)
    recorded = read_recorded(root / "results", experiment)
    check_raw(root, recorded.section.data)
    folder = ((place or root / PLACE) / experiment).absolute()
    with opened(folder) as lock:
        section = fill(root, folder, recorded.section)
        changed = changes(recorded, root / "results", folder / "results")
        for change in changed:
            tell(f"{change} since {experiment} was recorded: a difference may come from that")
        problem: ReproduceError | None = None
        try:
            build(folder, section, "index", cores, lock)
            # Other images or another split make another experiment: that is known before hours of training.
            if read_rebuilt(section, folder / "results").stages.get("index") == recorded.stages["index"]:
                build(folder, section, "bundle", cores, lock)
        except ReproduceError as error:
            problem = error
        verdict = judge(recorded, read_rebuilt(section, folder / "results"), changed)
        for line in verdict.lines:
            tell(line)
        reproduced = verdict.reproduced and problem is None
        if reproduced and not keep:
            remove(folder)
        else:
            tell(f"what was built is in {folder}")
        tell(verdict.answer)
        if problem:
            raise problem
    return reproduced
