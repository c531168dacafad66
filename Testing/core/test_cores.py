"""How many cores a process keeps busy can be told from outside, as clusters do."""

from __future__ import annotations

import pytest

from KernelNormalizationLib.core.cores import usable_cores


def test_the_number_of_threads_can_be_told_by_the_usual_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert usable_cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")  # threads of nested levels
    assert usable_cores() == 4


@pytest.mark.parametrize("text", ["", "0", "many"])
def test_without_a_number_the_system_is_asked(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert usable_cores() >= 1
