"""What a VM is to do, and with which files: an order in the bucket for each job, and its results on the way back."""

import hashlib
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.api_core.exceptions import Forbidden, NotFound
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_imagewright_batch.sources import pack
from snakemake_executor_plugin_imagewright_batch.store import PROBLEMS, RAW, Store

SOURCES = "sources.tar"
VM = "snakemake_executor_plugin_imagewright_batch.vm"
WANDB = "runs/wandb"
# It works in the container's own folder for temporary files: the one that it shares with the VM is in memory.
SCRIPT = """\
set -e
cd "$(mktemp -d)"
python - {store} {sources} <<'END_OF_PROGRAM'
import hashlib, io, sys, tarfile
from google.cloud import storage
store, digest = sys.argv[1:]
packed = storage.Blob.from_string(f"{{store}}/objects/{{digest}}", storage.Client()).download_as_bytes()
if hashlib.sha256(packed).hexdigest() != digest:
    sys.exit("error: the sources that arrived are damaged")
tarfile.open(fileobj=io.BytesIO(packed)).extractall(filter="data")
END_OF_PROGRAM
PYTHONPATH="$PWD/src" exec python -m {vm} {store} {order}
"""


class Orders:
    """Orders for VMs.

    Args:
        root: the project's folder.
        url: the store.
        tell: is told what takes a while.

    Raises:
        WorkflowError: the sources cannot be sent, in two lines.
    """

    def __init__(self, root: Path, url: str, tell: Callable[[str], None]) -> None:
        self.root, self.tell = root, tell
        with tempfile.TemporaryDirectory() as folder, _explained(url):
            pack(root, Path(folder) / SOURCES)
            self.store = Store(url)
            self.sources = self.store.put(Path(folder), [SOURCES])[SOURCES]

    def send(self, job: Any, command: str) -> str:
        """Send what a job reads, and what is to be done with it; `vm.main` says what an order is.

        Returns:
            The order's name.

        Raises:
            WorkflowError: it cannot be sent, in two lines.
        """
        if job.is_group():
            raise WorkflowError("error: groups of jobs cannot be sent\n  leave --groups and --group-components out")
        paths, logs = [str(path) for path in job.input], [str(path) for path in job.log]
        for path in paths:
            if not (self.root / path).absolute().is_relative_to(self.root.absolute()):
                raise WorkflowError(
                    f"error: {path} lies outside of the project, so it cannot be sent\n"
                    "  copy it into the project's folder, and name it from there"
                )
        # A manifest stands for the images that it lists.
        raw = [path for path in paths if path.startswith(RAW) and path.endswith(".json")]
        with _explained(self.store.url):
            for manifest in raw:
                self.store.put_raw(self.root, manifest, self.tell)
            inputs = self.store.put(self.root, paths)
            same = hashlib.sha256(json.dumps([inputs, list(job.output)], sort_keys=True).encode())
            name = uuid.uuid4().hex
            self.store.write(
                f"jobs/{name}/order.json",
                {
                    "command": command,
                    "inputs": inputs,
                    "raw": raw,
                    "outputs": [*map(str, job.output), *([str(job.benchmark)] if job.benchmark else [])],
                    "log": logs[0] if logs else None,
                    "evidence": [*(str(Path(path).parent) for path in logs), WANDB],
                    "checkpoints": same.hexdigest(),
                },
            )
        return name

    def script(self, name: str) -> str:
        """What the container runs to carry out an order, in Bash."""
        return SCRIPT.format(store=self.store.url, sources=self.sources, vm=VM, order=name)

    def bring(self, name: str) -> list[str]:
        """Put in place what came of an order, and say what that is; nothing where the VM was lost.

        Raises:
            One of `store.PROBLEMS`.
        """
        listing = self.store.read(f"jobs/{name}/made.json") or {}
        self.store.get(self.root, listing)
        return list(listing)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Say in two lines what Google's libraries raise."""
    try:
        yield
    except NotFound:
        raise WorkflowError(
            f"error: {url}: there is no such bucket\n  make one: gcloud storage buckets create; see docs/clusters.md"
        ) from None
    except Forbidden as error:
        raise WorkflowError(
            f"error: {url}: {_first_line(error)}\n  you need the role roles/storage.objectUser for the bucket"
        ) from None
    except WorkflowError:
        raise
    except (*PROBLEMS, ValueError) as error:
        raise WorkflowError(
            f"error: {url}: {_first_line(error)}\n  check the network, and SNAKEMAKE_IMAGEWRIGHT_BATCH_STORE"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
