"""Stage `fetch`: bring raw data to the disk."""

from pathlib import Path
from typing import Annotated

import typer

from imagewright.command import Config, Raw, run

Manifest = Annotated[Path, typer.Option(help="The list of files to write when all are there: data/raw/<data>.json.")]


def fetch(config: Config, raw: Raw, manifest: Manifest) -> None:
    """Bring the raw data of a data config to RAW, whole or not at all, and list it in MANIFEST.

    \b
    Example:
      python scripts/fetch.py --config results/resolve/fetch/digits.yaml \\
        --raw data/raw/digits --manifest data/raw/digits.json
    """
    from imagewright.config.data import FetchSection
    from imagewright.fetch import fetch

    fetch(FetchSection.read(config), raw, manifest)


if __name__ == "__main__":
    run(fetch)
