"""Cohorts that several tests look at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from Testing.cohort.runs import LINEAR, run, write_chests

# Fewer, while working on the code on a busy machine: COHORT_SCANS=12.
MANY = int(os.environ.get("COHORT_SCANS", "40"))


@pytest.fixture(scope="session")
def chests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder tree with forty tiny chests."""
    return write_chests(tmp_path_factory.mktemp("cohort") / "archive", MANY)


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six."""
    return write_chests(tmp_path_factory.mktemp("few") / "archive", 6)


@pytest.fixture(scope="session")
def serial(chests: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of the forty."""
    out = tmp_path_factory.mktemp("serial") / "out"
    code, text = run(chests, "--out", out, *LINEAR)
    assert code == 0, text
    return out
