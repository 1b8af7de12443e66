"""The machine that this runs on, without torch and without its name."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

MEBIBYTE = 1024 * 1024
TIMEOUT_S = 20


def this_machine() -> dict[str, Any]:
    """Describe the machine.

    Returns:
        `cpu`: the processor's model; `cores`: logical ones; `memory_mb`: what is installed, in MB of 2**20 bytes, or
        None; `gpus`: the names of NVIDIA's cards, as the driver gives them.
    """
    return {"cpu": _cpu(), "cores": os.cpu_count(), "memory_mb": _memory_mb(), "gpus": _gpus()}


def _cpu() -> str:
    # Linux alone says the model, and not on every architecture.
    listing = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(), re.MULTILINE) if listing.is_file() else None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEBIBYTE
    except (ValueError, OSError):
        return None


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return []
    # Without a driver the program is there and complains.
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []
