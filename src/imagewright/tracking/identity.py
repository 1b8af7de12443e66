"""Which run a stage reports to."""

import secrets
from pathlib import Path

from imagewright.files import write_text_if_changed


def lasting_id(path: Path) -> str:
    """The run id in a file beside a checkpoint; drawn and written where there is none.

    A training that goes on finds the file and continues its run; one that starts afresh draws another id, since two
    trainings in one run would mix their histories. Remove the file with the checkpoint.

    Args:
        path: the file, for example `runs/train/<experiment>/<trial>.run`.
    """
    if path.is_file() and (known := path.read_text().strip()):
        return known
    drawn = secrets.token_hex(8)
    write_text_if_changed(path, drawn + "\n")
    return drawn
