"""Read back what a run wrote to disk: the file that `wandb sync` sends, record by record."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32768
HEAD = struct.Struct("<IHB")  # checksum, length, kind of a piece
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class Run:
    """One run folder: what a person would see of it on the server."""

    folder: Path
    id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    job: str = ""
    sweep: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None


def read_runs(folder: Path) -> list[Run]:
    """Every run below `folder` (for example `runs/wandb`), the oldest first."""
    return [read_run(path) for path in sorted(folder.rglob("*run-*/run-*.wandb"))]


def read_run(path: Path) -> Run:
    """One run from its `.wandb` file."""
    from wandb.proto.wandb_internal_pb2 import Record

    run = Run(path.parent)
    for data in _records(path.read_bytes()):
        record = Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            value = record.run
            run.id, run.name, run.project, run.group = value.run_id, value.display_name, value.project, value.run_group
            run.job, run.sweep = value.job_type, value.sweep_id
            run.config |= _items(value.config.update)
        elif kind == "config":
            run.config |= _items(record.config.update)
        elif kind == "history":
            run.history.append(_items(record.history.item) | {"_step": record.history.step.num})
        elif kind == "summary":
            run.summary |= _items(record.summary.update)
        elif kind == "artifact":
            value = record.artifact
            run.artifacts.append({
                "name": value.name, "kind": value.type, "used": value.use_after_commit,
                "metadata": json.loads(value.metadata or "{}"),
                "files": sorted(entry.path for entry in value.manifest.contents),
            })  # fmt: skip
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _items(items: Any) -> dict[str, Any]:
    found = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
    return {key: value for key, value in found.items() if key != "_wandb"}


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log; a last one that was never finished is left out."""
    assert data[:4] == b":W&B"
    at, parts = 7, b""
    while at + HEAD.size <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEAD.size:  # padding
            at += left
            continue
        _, length, kind = HEAD.unpack_from(data, at)
        piece = data[at + HEAD.size : at + HEAD.size + length]
        if len(piece) < length or kind == 0:
            return
        at += HEAD.size + length
        parts = piece if kind in (FULL, FIRST) else parts + piece
        if kind in (FULL, LAST):
            yield parts
