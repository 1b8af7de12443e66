"""Fill a folder aside and put it in place when it is whole."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def placed(raw: Path) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well, it becomes `raw`, in one rename."""
    raw.parent.mkdir(parents=True, exist_ok=True)
    # Eight letters and no more: `.a.*.partial` would also be what another job fills for `a.b`.
    for left_over in raw.parent.glob(f".{raw.name}.????????.partial"):
        shutil.rmtree(left_over)
    aside, old = (raw.parent / f".{raw.name}.{secrets.token_hex(4)}.partial" for _ in range(2))
    aside.mkdir()
    try:
        yield aside
        if raw.is_symlink():
            raw.unlink()
        elif raw.exists():
            raw.rename(old)
            aside.rename(raw)
            shutil.rmtree(old)
            return
        aside.rename(raw)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
