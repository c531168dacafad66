"""Tests in several processes (pytest-xdist, ``make test``): what must stay together, in which order, and with how many threads.

Without ``-n`` nothing here has an effect, so single files and rooms run as always.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

# Rooms whose files share an expensive fixture: they run in one process, which makes it once.
TOGETHER = {"cohort"}
IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ

if IN_PARALLEL:
    # There is a process for every core, so each computes with one thread. This must be set before the libraries are loaded.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep every file, or room of ``TOGETHER``, in one process.

    Marks of ``--dist loadgroup`` would say the same, but xdist 3.8 loses them with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the groups with most slow tests first: when a long group starts last, the other processes wait for it."""
    if IN_PARALLEL:
        slow = Counter(_group(item.nodeid) for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: (-slow[_group(item.nodeid)], _group(item.nodeid)))


def _group(nodeid: str) -> str:
    """The file of a test, or its room, such as ``Testing/cohort``."""
    path = Path(nodeid.split("::")[0])
    return path.parent.as_posix() if path.parent.name in TOGETHER else path.as_posix()
