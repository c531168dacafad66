"""How many processor cores this process may keep busy."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores for threads: what ``OMP_NUM_THREADS`` allows, else the cores the system lets this process run on, at least 1.

    Several processes that share a machine (workers of a cohort, jobs of a cluster) tell each other apart by that variable.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if told.isdigit() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
