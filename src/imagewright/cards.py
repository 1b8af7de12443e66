"""Give a job its GPUs: no other job of this machine gets them for as long as it lives.

Run: python -m imagewright.cards 1 python scripts/train.py ...

A job's cards are locked files, and the lock is the kernel's: it ends with the job, however that ends. Where a cluster
has given the job its cards already, or where the machine has none, the command simply runs.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from imagewright.errors import CardsError
from imagewright.files import try_lock

LOCKS = Path(os.environ.get("IMAGEWRIGHT_CARDS", "/tmp/imagewright-cards"))  # noqa: S108 - one place for all users
POLL_S = 0.5
CLUSTERS = ("SLURM_JOB_ID", "BATCH_JOB_UID")
"""Set by Slurm and by Google Batch in their jobs."""


def main(arguments: list[str]) -> None:
    """Become the command, on as many cards as its first argument says."""
    count, command = int(arguments[0]), arguments[1:]
    try:
        chosen = [] if any(name in os.environ for name in CLUSTERS) else hold(count, cards(os.environ))
    except CardsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    if chosen or not count:
        # A job that asks for none gets none, also where there are some.
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen) or "-1"
    os.execvp(command[0], command)  # noqa: S606 - the command is a line of the Snakefile


def cards(environment: Mapping[str, str]) -> list[str]:
    """The names of the cards that jobs may use: of this machine's, those that CUDA_VISIBLE_DEVICES allows.

    A card's name is its UUID, whichever way it is meant, so that two jobs that name it differently do not share it.
    """
    present = _present()
    allowed = environment.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return list(present.values())
    names = []
    for name in (part.strip() for part in allowed.split(",")):
        # As CUDA reads it: what follows a name that means no card is not used.
        if not name or name == "-1":
            break
        names.append(next((uuid for uuid in present.values() if uuid.startswith(name)), present.get(name, name)))
    return names


def hold(count: int, names: list[str]) -> list[str]:
    """Wait until as many cards are free, and lock them for the rest of this process's life and its command's.

    Args:
        count: how many are wanted.
        names: the cards that there are; where there are none, none is held.

    Returns:
        The cards that are held now.

    Raises:
        CardsError: there are some, but never as many.
    """
    if names and count > len(names):
        raise CardsError(
            f"{count} GPUs are asked for (train.processes), and this machine has {len(names)}",
            f"set train.processes to at most {len(names)}, or run on a cluster: --profile slurm",
        )
    held: dict[str, int] = {}
    if not names or not count:
        return []
    # One at a time chooses: two jobs that each held half of what both want would wait for ever.
    queue = _open("queue")
    if not (try_lock(queue) and _take(count, names, held)):
        print(f"Waiting for {count} of {len(names)} GPUs: other jobs have them", file=sys.stderr, flush=True)
        fcntl.flock(queue, fcntl.LOCK_EX)
        while not _take(count, names, held):
            time.sleep(POLL_S)
    os.close(queue)
    return list(held)


def _take(count: int, names: list[str], held: dict[str, int]) -> bool:
    """Lock what is free until it is enough; what is held stays held, also by the command that this process becomes."""
    for name in names:
        if len(held) < count and name not in held:
            lock = _open(name)
            if try_lock(lock):
                os.set_inheritable(lock, True)
                held[name] = lock
            else:
                os.close(lock)
    return len(held) == count


def _present() -> dict[str, str]:
    """This machine's cards: their UUIDs, by number."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"],  # noqa: S607 - it lies elsewhere on each machine
            check=True, text=True, capture_output=True, timeout=60,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = (line.split(",") for line in listed.splitlines() if "," in line)
    return {number.strip(): uuid.strip() for number, uuid in rows}


def _open(name: str) -> int:
    """The file that stands for a card, open to be locked."""
    try:
        LOCKS.mkdir()
        # Other users share the cards, and so the folder; as in /tmp, each may delete only their own files in it.
        LOCKS.chmod(0o1777)
    except FileExistsError:
        pass
    path = LOCKS / f"{name.replace('/', '_')}.lock"
    try:
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        # Somebody else's file can be locked, too: reading is enough for that.
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


if __name__ == "__main__":
    main(sys.argv[1:])
