"""A bundle in a bucket, brought to this machine."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagewright.errors import ServeError, first_line
from imagewright.files import read_json


@contextmanager
def brought(place: str) -> Iterator[Path]:
    """A bundle's folder; what came from a bucket is removed when the block ends.

    Only the files that `bundle.json` lists are brought; `open_served` checks them.

    Args:
        place: a folder, or `gs://bucket/folder`.

    Raises:
        ServeError: there is nothing, or it cannot be read.
    """
    if "://" not in place:
        yield Path(place)
        return
    import fsspec

    with tempfile.TemporaryDirectory(prefix="imagewright-") as folder:
        try:
            files, path = fsspec.url_to_fs(place.rstrip("/"))
            files.get_file(f"{path}/bundle.json", f"{folder}/bundle.json")
            about = read_json(Path(folder) / "bundle.json")
            if not isinstance(about, dict) or not isinstance(about.get("files"), dict):
                raise ServeError(f"{place}: its bundle.json lists no files", "bring the whole folder there again")
            for name in about["files"]:
                if Path(name).name != name:
                    raise ServeError(f"{place}: bundle.json names {name!r}, which is no file of it", "do not trust it")
                files.get_file(f"{path}/{name}", f"{folder}/{name}")
        except ServeError:
            raise
        except FileNotFoundError as error:
            raise ServeError(f"{place}: there is no whole bundle", "check the address") from error
        except Exception as error:  # each file system raises its own
            raise ServeError(
                f"{place}: it cannot be read ({first_line(error)})", "check the address, and log in"
            ) from error
        yield Path(folder)
