"""A folder that a person has filled."""

from pathlib import Path

from imagewright.config.data import FolderSource
from imagewright.errors import SourceError


def link_folder(source: FolderSource, raw: Path) -> None:
    """Make `raw` show the folder at `source.path`: a link, so that nothing is copied and nothing there is changed.

    Args:
        source: the folder; without a path, the images lie in `raw` itself, or `raw` is a link that a person made.
        raw: `data/raw/<data>`.

    Raises:
        SourceError: there is no such folder, or something else lies in the way.
    """
    folder = Path(source.path) if source.path else raw
    if not folder.is_dir():
        what = "the link points nowhere" if folder.is_symlink() else "there is no such folder"
        raise missing(source, raw, f"{folder}: {what}")
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


def missing(source: FolderSource, raw: Path, problem: str) -> SourceError:
    """The error for raw data that is not there: which public data set it is, where to get it, and its layout."""
    place = source.path or f"{raw}, or link it there: ln -s <its folder> {raw}"
    files = f" ({', or '.join(source.files)})" if source.files else ""
    if not source.dataset:
        return SourceError(problem, f"put the raw images of {raw.name!r}{files} in {place}")
    page = f" ({source.page})" if source.page else ""
    return SourceError(
        f"{problem}; {source.dataset} belongs there{page}", f"download it and put its folder{files} in {place}"
    )
