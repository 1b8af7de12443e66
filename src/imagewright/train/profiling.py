"""Where the time of a step goes: a table and a trace, on request."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, schedule, supported_activities

WAIT, WARM_UP, ACTIVE = 2, 2, 6
"""Steps that are passed over, that warm the profiler up, and that are recorded."""


@contextmanager
def profiled(folder: Path | None) -> Iterator[Callable[[], None]]:
    """Record some steps of the block.

    Args:
        folder: gets `profile.txt`, the operators that took longest, and `trace.json`, for a trace viewer such as
            Perfetto; none to record nothing.

    Yields:
        What to call after each step.
    """
    if folder is None:
        yield lambda: None
        return
    folder.mkdir(parents=True, exist_ok=True)

    def write(done: profile) -> None:
        on_gpu = ProfilerActivity.CUDA in supported_activities()
        order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        (folder / "profile.txt").write_text(done.key_averages().table(sort_by=order, row_limit=40))
        done.export_chrome_trace(str(folder / "trace.json"))
        print(f"train: profile of {ACTIVE} steps in {folder / 'profile.txt'} and trace.json", file=sys.stderr)

    plan = schedule(wait=WAIT, warmup=WARM_UP, active=ACTIVE, repeat=1)
    with profile(schedule=plan, on_trace_ready=write, profile_memory=True) as profiler:
        yield profiler.step
