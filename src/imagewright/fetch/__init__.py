"""Stage `fetch`: bring the raw data to `data/raw/<data>/`, whole or not at all, and never touch it again."""

from pathlib import Path

from imagewright.config.data import ArchiveSource, FetchSection, FolderSource, PackageSource
from imagewright.errors import SourceError
from imagewright.fetch.archive import fetch_archive
from imagewright.fetch.claim import claimed
from imagewright.fetch.folder import link_folder, missing
from imagewright.fetch.packages import write_package
from imagewright.fetch.partial import forget_downloads
from imagewright.files import sha256, walk_files, write_json


def fetch(section: FetchSection, raw: Path, manifest: Path) -> None:
    """Bring the raw data of one data config.

    Args:
        section: the source.
        raw: the folder to fill, `data/raw/<data>`.
        manifest: the file to write when all is there: each file's name, size and SHA-256.

    Raises:
        SourceError: the source is missing, incomplete, unsafe or not what its checksum says.
        DataError: a file's name is not UTF-8.
        SupersededError: a newer fetch has taken over.
    """
    source = section.source
    with claimed(raw) as still_ours:
        if isinstance(source, ArchiveSource):
            fetch_archive(source, raw, still_ours)
        else:
            forget_downloads(raw)
        if isinstance(source, PackageSource):
            write_package(source.package, raw)
        elif isinstance(source, FolderSource):
            link_folder(source, raw)
        paths = sorted(walk_files(raw))
        if not paths and isinstance(source, FolderSource):
            raise missing(source, raw, f"{raw}: there are no files")
        if not paths:
            raise SourceError(f"{raw}: there are no files", "put the images there, or correct `source` in config/data/")
        files = {}
        for path in paths:
            still_ours()
            files[path.relative_to(raw).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        write_json(manifest, {"source": source.model_dump(mode="json"), "files": files})
