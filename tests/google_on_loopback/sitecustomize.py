"""Put on PYTHONPATH by tests: Google's clients of Batch and of logging speak to loopback, and nobody has to log in.

Google has no setting for that, as it has for storage (`STORAGE_EMULATOR_HOST`). Each module is changed when it is
imported, so that a process that imports none of them is not slowed down.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def _batch(module: Any) -> None:
    import grpc

    def create_channel(cls: type, host: str = "", **options: Any) -> grpc.Channel:
        return grpc.insecure_channel(os.environ["BATCH_EMULATOR_HOST"])

    module.BatchServiceGrpcTransport.create_channel = classmethod(create_channel)


def _auth(module: Any) -> None:
    from google.auth.credentials import AnonymousCredentials

    module.default = lambda *given, **named: (AnonymousCredentials(), os.environ["GOOGLE_CLOUD_PROJECT"])


def _logging(module: Any) -> None:
    class Entry:
        def __init__(self, payload: str) -> None:
            self.payload = payload

    class Client:
        def __init__(self, *given: Any, **named: Any) -> None:
            pass

        def logger(self, name: str) -> "Client":
            return self

        def list_entries(self, filter_: str, **named: Any) -> list[Entry]:
            log = Path(os.environ["BATCH_EMULATOR_LOGS"]) / f"{filter_.rpartition('=')[2]}.log"
            return [Entry(line) for line in log.read_text().splitlines()] if log.exists() else []

    module.Client = Client


CHANGES: dict[str, Callable[[Any], None]] = {
    "google.cloud.batch_v1.services.batch_service.transports.grpc": _batch,
    "google.auth": _auth,
    "google.cloud.logging": _logging,
}


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in CHANGES else None
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                CHANGES[name](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "BATCH_EMULATOR_HOST" in os.environ:
    sys.meta_path.insert(0, _Finder())
