"""The part on the VM: bring what a job reads, run it, send what it made; `python -m <this module> STORE ORDER`.

While it runs, its checkpoints are kept in the bucket. A VM can be taken away at any moment, and the next one goes on
from there.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from snakemake_executor_plugin_imagewright_batch.store import PROBLEMS, Damaged, Store

CHECKPOINTS = "runs/train"
KEEP_EVERY_S = float(os.environ.get("IMAGEWRIGHT_KEEP_EVERY_S", "10"))
IMAGE_LOCK = "IMAGEWRIGHT_IMAGE_LOCK"
"""Names the list of versions that the image was built from."""


def main(url: str, name: str) -> int:
    """Do what is ordered in the folder that this runs in, which holds the sources.

    Args:
        url: the store.
        name: of the order, a JSON value that the executor wrote: `command`; `inputs`, a listing; `raw`, manifests whose
            images are read; `outputs`, the files that it makes; `log`, where errors are looked for, or None;
            `evidence`, folders that are sent also where it fails; `checkpoints`, the name that its checkpoints are kept
            under.

    Returns:
        The command's exit code; or 1, if it could not be started.
    """
    root, store = Path.cwd(), Store(url)
    order = store.read(f"jobs/{name}/order.json")
    with _kept(store, root, order["checkpoints"]) as forget:
        try:
            _check_image(root)
            store.get(root, order["inputs"])
            for manifest in order["raw"]:
                store.get_raw(root, manifest)
            code = subprocess.run(["bash", "-c", order["command"]], check=False).returncode  # noqa: S603, S607
        except PROBLEMS as error:
            code, text = 1, f"error: {error}\n"
            sys.stderr.write(text)
            if order["log"]:
                (root / order["log"]).parent.mkdir(parents=True, exist_ok=True)
                (root / order["log"]).write_text(text)
        made = [root / path for path in order["outputs"]] if code == 0 else []
        found = [path for folder in order["evidence"] for path in _files(root / folder)]
        store.write(
            f"jobs/{name}/made.json", store.put(root, [str(path.relative_to(root)) for path in (*made, *found)])
        )
        if code == 0:
            forget()
    return code


@contextmanager
def _kept(store: Store, root: Path, name: str) -> Iterator[Callable[[], None]]:
    """Put the checkpoints of an earlier try in place, and send them whenever they change, until the block ends.

    Yields:
        What to call when all is done and nobody will need them again.
    """
    prefix, sent, over = f"checkpoints/{name}/", dict[Path, int](), threading.Event()
    store.bring_kept(prefix, root / CHECKPOINTS)

    def send() -> None:
        # What a training removes at its end stays, until its outputs are in the bucket.
        for path in _files(root / CHECKPOINTS):
            try:
                if not path.name.startswith(".") and sent.get(path) != (changed := path.stat().st_mtime_ns):
                    store.keep(f"{prefix}{path.relative_to(root / CHECKPOINTS)}", path)
                    sent[path] = changed
            except PROBLEMS as error:
                sys.stderr.write(f"warning: {path} could not be kept: {error}; the next try follows\n")

    def watch() -> None:
        while not over.wait(KEEP_EVERY_S):
            send()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: store.forget(prefix)
    finally:
        over.set()
        watcher.join()


def _check_image(root: Path) -> None:
    """Stop where the image has other versions than the ones that the bundle will be said to be made with."""
    image = os.environ.get(IMAGE_LOCK)
    if image and Path(image).read_bytes() != (root / "requirements.lock").read_bytes():
        raise Damaged(
            "the container's image was built from another requirements.lock\n  build it again: docs/clusters.md"
        )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
