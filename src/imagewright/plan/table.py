"""A plan as a table in a terminal."""

from collections.abc import Sequence
from datetime import timedelta

from imagewright.plan import Plan, PlannedJob

UNKNOWN = "unknown"


def planned_table(plan: Plan) -> str:
    """What would run: a line a job, and the sums of what is known."""
    if not plan.jobs:
        return "nothing to do"
    rows = [("job", "machine", "GPUs", "time", "memory", "dollars")]
    rows += [(_job(job), _machine(job), job.cards or "-", *_measured(job)) for job in plan.jobs]
    spot = "; * spot" if any(job.spot for job in plan.jobs) else ""
    lines = [
        *_aligned(rows),
        "",
        _sum(plan),
        "Time and memory are those of the last run, on whatever machine that was.",
    ]
    if plan.prices:
        lines.append(
            f"Prices: {plan.prices}{spot}. The start of a VM, some minutes a job, disks and network are extra."
        )
    return "\n".join(lines)


def took_table(before: Plan, after: Plan) -> str:
    """What was expected of each job, beside what it took."""
    rows = [("job", "machine", "time", "was", "memory", "was", "dollars", "were")]
    for old, new in zip(before.jobs, after.jobs, strict=True):
        now = _measured(new) if new.seconds is not None else ("not run", "", "")
        (a, b, c), (d, e, f) = _measured(old), now
        rows.append((_job(old), _machine(old), a, d, b, e, c, f))
    ran = Plan([job for job in after.jobs if job.seconds is not None], after.prices, after.made)
    return "\n".join([*_aligned(rows), "", _sum(ran)])


def _sum(plan: Plan) -> str:
    times = [job.seconds for job in plan.jobs if job.seconds is not None]
    costs = [job.cost for job in plan.jobs if job.cost is not None]
    missing = len(plan.jobs) - len(times)
    parts = [f"{len(plan.jobs)} jobs", f"{_time(sum(times))} of work"]
    if plan.prices:
        parts.append(f"{sum(costs):.3f} dollars")
    if missing:
        parts.append(f"without {missing} whose time is unknown")
    return ", ".join(parts)


def _job(job: PlannedJob) -> str:
    return f"{job.stage} {job.name}"


def _machine(job: PlannedJob) -> str:
    return f"{job.machine or '-'}{'*' if job.spot else ''}"


def _measured(job: PlannedJob) -> tuple[str, str, str]:
    memory = UNKNOWN if job.peak_memory_mb is None else f"{job.peak_memory_mb:.0f} MB"
    cost = "-" if job.machine is None else UNKNOWN if job.cost is None else f"{job.cost:.4f}"
    return UNKNOWN if job.seconds is None else _time(job.seconds), memory, cost


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
