"""Counting how often the interval of a normalized index holds the true one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from EmphysemaQuantLib.core.indices.prediction_interval import ErrorStratum
from KernelNormalizationLib.core.errors import InputError
from training.coverage import NormalizedPatient, count, main, report
from training.evaluation.scores import Score
from training.running.smoke import make_tiny_pairs

LOW = ErrorStratum(0.0, 5.0, 0.5, 40, 0.0, "simulated patients")
HIGH = ErrorStratum(5.0, 100.0, 1.0, 40, 0.0, "simulated patients")
NOTHING_OPEN: dict[str, Any] = {"open": {}}


def measured(true: float, ei: float, hypotheses: dict[str, Any] | None = None) -> NormalizedPatient:
    score = Score("p", "ours", 9.0, 9.0, 9.0, 0.0, true, ei, abs(ei - true), 0.9, "B80f", 1e5, 0.7, False, False)
    return NormalizedPatient(score, NOTHING_OPEN if hypotheses is None else hypotheses)


def open_up(points: float) -> dict[str, Any]:
    return {"open": {"truncation": {"shifts": [{"points": 0.0, "chi2": 3.0}, {"points": points, "chi2": 3.0}]}}}


def test_a_true_index_counts_as_inside_only_within_the_interval() -> None:
    counted = count([measured(2.9, 2.0), measured(3.3, 2.0), measured(12.3, 10.0)], (LOW, HIGH))
    assert [c.inside for c in counted] == [(True, True), (False, False), (False, False)]


def test_what_the_scan_leaves_open_brings_patients_of_other_scanners_inside() -> None:
    (counted,) = count([measured(4.0, 2.0, open_up(2.5))], (LOW, HIGH))
    assert counted.inside == (True, False)
    assert counted.full.low == counted.strata.low


def test_coverage_is_told_by_stratum_with_its_n_and_who_was_missed() -> None:
    patients = [measured(2.0, 2.0), measured(2.5, 2.0), measured(3.5, 2.0), measured(10.0, 10.0)]
    lines = report(count(patients, (LOW, HIGH)), (LOW, HIGH))
    assert any(line.startswith("| 0 to 5 | 3 | 2 | 67 % (9 to 99) |") for line in lines)
    assert any(line.startswith("| 5 to 100 | 1 | 1 | 100 %") for line in lines)
    assert any(line.startswith("| all | 4 | 3 | 75 %") for line in lines)
    assert lines[-1].startswith("Outside: p (true 3.50, normalized 2.00,")


def test_patients_drawn_from_the_errors_are_inside_in_95_of_100() -> None:
    rng = np.random.default_rng(2)
    patients = [measured(float(t), float(t + rng.normal(0.0, 1.0))) for t in rng.uniform(10.0, 60.0, 4000)]
    counted = count(patients, (HIGH,))
    assert np.mean([c.inside[0] for c in counted]) == pytest.approx(0.95, abs=0.015)


def test_an_index_without_known_error_is_refused() -> None:
    with pytest.raises(InputError, match="calibrate on more patients"):
        count([measured(2.0, 7.0)], (LOW,))


@pytest.mark.slow
def test_the_command_measures_calibrates_counts_and_goes_on_from_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in (("seen", 5), ("unseen", 2)):
        make_tiny_pairs(tmp_path / name, number)
    command = [str(tmp_path / "unseen"), "--calibrate", str(tmp_path / "seen"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "| all | 2 |" in printed
    assert (tmp_path / "out" / "coverage.md").read_text() == printed
    with (tmp_path / "out" / "coverage.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(0.0 <= float(row["low [%]"]) <= float(row["high [%]"]) <= 100.0 for row in rows)
    assert all("scanner properties that one scan does not show" in row["basis"] for row in rows)
    store = tmp_path / "out" / "measured_unseen.json"
    known = json.loads(store.read_text())
    known[0]["score"]["true_ei"] = 99.0
    store.write_text(json.dumps(known))
    assert main([*command, "--resume"]) == 0
    assert "true 99.00" in capsys.readouterr().out


def test_errors_must_come_from_somewhere_else(tmp_path: Path) -> None:
    make_tiny_pairs(tmp_path / "pairs", 1)
    assert main([str(tmp_path / "pairs"), "--model", str(tmp_path / "without-card"), "--out", str(tmp_path / "out")]) == 2
    assert main([str(tmp_path / "pairs"), "--calibrate", str(tmp_path / "pairs"), "--out", str(tmp_path / "out")]) == 2
