"""Stage `tensors`: decode every image once."""

from imagewright.command import Config, Index, Out, Raw, Workers, run


def tensors(config: Config, raw: Raw, index: Index, out: Out, workers: Workers = 1) -> None:
    """Write the images and targets of each split as uint8 arrays, with meta.json.

    \b
    Example:
      python scripts/tensors.py --config results/resolve/tensors/digits-gray28.yaml --raw data/raw/digits \\
        --index results/index/digits --out results/tensors/digits-gray28 --workers 2
    """
    from imagewright.config.tensors import TensorsSection
    from imagewright.files import staged
    from imagewright.tensors.write import write_tensors

    with staged(out) as work:
        write_tensors(TensorsSection.read(config), raw, index, work, workers)


if __name__ == "__main__":
    run(tensors)
