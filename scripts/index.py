"""Stage `index`: list, look at, split and check every image."""

from imagewright.command import Config, Evidence, Out, Raw, Workers, run


def index(config: Config, raw: Raw, out: Out, evidence: Evidence, workers: Workers = 1) -> None:
    """Write index.parquet, report.json and contact.png for the raw data RAW.

    \b
    Example:
      python scripts/index.py --config results/resolve/index/digits.yaml --raw data/raw/digits \\
        --out results/index/digits --evidence logs/index/digits --workers 2
    """
    from imagewright.config.data import IndexSection
    from imagewright.files import staged
    from imagewright.index.build import build_index

    with staged(out) as work:
        build_index(IndexSection.read(config), raw, work, evidence, workers)


if __name__ == "__main__":
    run(index)
