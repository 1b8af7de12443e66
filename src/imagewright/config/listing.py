"""Names and hashes of the files that a person has put into a folder, each file read again only when it has changed."""

import json
from pathlib import Path

from tqdm import tqdm

from imagewright.files import sha256, walk_files, write_json

PATIENCE_S = 3


def listing(folder: Path, known: Path) -> str:
    """List a folder's files.

    Content counts and times do not, so that a copy of the folder in another clone has the same listing.

    Args:
        folder: for example `data/raw/drinks`.
        known: where the hashes are kept, with the size, time and inode of the file that each was read from.

    Returns:
        `<name>\\t<sha256>\\n` for each file, sorted; nothing for a folder that is not there.

    Raises:
        DataError: a file's name is not UTF-8.
    """
    before = json.loads(known.read_text()) if known.is_file() else {}
    after = {}
    paths = sorted(walk_files(folder))
    for path in tqdm(paths, desc=f"read {folder}", unit="file", delay=PATIENCE_S, disable=None):
        status = path.stat()
        mark = [status.st_size, status.st_mtime_ns, status.st_ino]
        name = path.relative_to(folder).as_posix()
        found = before.get(name)
        after[name] = found if found and found[:3] == mark else [*mark, sha256(path)]
    write_json(known, after)
    return "".join(f"{name}\t{found[3]}\n" for name, found in after.items())
