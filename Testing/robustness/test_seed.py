"""A short run of the generator; ``python -m Testing.robustness`` runs more."""

from __future__ import annotations

from collections import Counter

import pytest

from robustness.case import FAULTS
from robustness.runner import run_cases

pytestmark = pytest.mark.slow


def test_no_bad_input_gives_a_wrong_number_a_traceback_a_hang_or_takes_the_memory() -> None:
    results = list(run_cases(300, seed=20261126))
    faults = [(r.number, r.outcome, r.name, r.detail) for r in results if r.outcome in FAULTS]
    assert not faults
    counts = Counter(r.outcome for r in results)
    # both kinds of outcome must occur, or the generator tests nothing
    assert counts["right"] > 50
    assert counts["clean error"] > 100
