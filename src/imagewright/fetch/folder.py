"""A folder that a person has filled."""

from pathlib import Path

from imagewright.errors import SourceError


def link_folder(path: str | None, raw: Path) -> None:
    """Make `raw` show the folder at `path`: a link, so that nothing is copied and nothing there is changed.

    Args:
        path: the folder; none where the images lie in `raw` itself.
        raw: `data/raw/<data>`.

    Raises:
        SourceError: there is no such folder, or something else lies in the way.
    """
    folder = Path(path) if path else raw
    if not folder.is_dir():
        raise SourceError(f"{folder}: there is no such folder", f"put the raw images of {raw.name!r} there")
    if folder.absolute() == raw.absolute():
        return
    if raw.is_symlink():
        raw.unlink()
    elif raw.exists():
        raise SourceError(
            f"{raw}: it exists, but the data config's source is {folder}", f"move {raw} away, or drop `source.path`"
        )
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.symlink_to(folder.absolute(), target_is_directory=True)
