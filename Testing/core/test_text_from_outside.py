"""Text from outside in pictures and tables: nothing is read as a formula, of mathematics or of a spreadsheet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pyarrow import parquet

from ctkernel.cohort.case import Failure
from ctkernel.cohort.output import FAILURES, write_failures
from ctkernel.cohort.tables import COLUMNS, RUNS_CSV, write_both, write_runs
from ctkernel.reader_study.report import _csv
from KernelNormalizationLib.core.imaging.slice_picture import draw_difference, draw_slice

LONG = "is cut off or damaged; copy it again. " * 8


@pytest.mark.parametrize("title", ["scan$\\frac{1}{0}$", "cost $5 or $6", "a_b^c$$", "\\"])
def test_a_name_is_drawn_as_it_is_and_not_as_mathematics(title: str) -> None:
    """A dollar sign in a scan's name used to stop the report."""
    figure = Figure()
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    draw_slice(left, np.zeros((8, 8), np.float32), title)
    draw_difference(right, np.zeros((8, 8), np.float32), title)
    figure.savefig(io.BytesIO(), format="png")
    assert left.get_title() == right.get_title() == title
    assert not left.title.get_parse_math()
    assert not right.title.get_parse_math()


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("reason", ["=cmd.nrrd is damaged", f"=cmd\x1b[2J.nrrd {LONG}"])
def test_a_reason_of_any_length_is_no_formula_and_loses_no_word(tmp_path: Path, reason: str) -> None:
    write_failures(tmp_path, [Failure("@SUM(A1)", reason)])
    (row,) = cells(tmp_path / FAILURES)
    assert row["case"] == "'@SUM(A1)"
    assert row["reason"] == "'" + reason.replace("\x1b", "\N{REPLACEMENT CHARACTER}").strip()


def test_the_other_tables_have_no_formulas_either(tmp_path: Path) -> None:
    write_runs(tmp_path, [{"case": "=1+1", "worker": "a", "voxels": -3}])
    (row,) = cells(tmp_path / RUNS_CSV)
    assert (row["case"], row["worker"], row["voxels"]) == ("'=1+1", "a", "-3")
    assert _csv([("=1+1", "-0.5", 7)]).splitlines()[0] == "'=1+1,-0.5,7"


def test_the_table_of_a_cohort_has_no_formulas_for_spreadsheets_and_the_plain_text_for_programs(tmp_path: Path) -> None:
    columns = [column for column in COLUMNS if column.name in ("case", "ei_percent")]
    write_both(tmp_path / "a.csv", tmp_path / "a.parquet", columns, [[{"case": "=1+1", "ei_percent": 7.5}]])
    (row,) = cells(tmp_path / "a.csv")
    assert (row["case"], row["ei_percent"]) == ("'=1+1", "7.5")
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == [{"case": "=1+1", "ei_percent": 7.5}]
