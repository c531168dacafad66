"""Tests in several processes (pytest-xdist, ``make test``): what must stay together, in which order, and with how many threads.

Without ``-n`` nothing here has an effect, so single files and rooms run as always.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

TESTING = Path(__file__).resolve().parent
# Rooms whose files share an expensive fixture: they run in one process, which makes it once.
TOGETHER = {"cohort"}
IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ

if IN_PARALLEL:
    # There is a process for every core, so each computes with one thread. This must be set before the libraries are loaded.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = "1"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep every file, or room of ``TOGETHER``, in one process, so that its fixtures are made once; longest groups first.

    A group that starts last should be short, or the other processes wait for it. Groups with most slow tests start first.
    """
    if not IN_PARALLEL:
        return
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    slow = Counter(group for item, group in groups.items() if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[groups[item]], groups[item]))


def _group(item: pytest.Item) -> str:
    """Name of the room or file of ``item``, such as ``cohort`` or ``core.test_gate``."""
    room, *rest = item.path.relative_to(TESTING).with_suffix("").parts
    return room if room in TOGETHER else ".".join((room, *rest))
