"""Results in scenes that an earlier version saved, when it kept the table but no texts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import slicer
from emphysemapanel import EmphysemaPanel, chest, compute, panel, partner, save_and_load

from EmphysemaQuantLib.ui.saved_results import SAVED, savedHeadline, savedSummary

__all__ = ["chest", "panel", "partner"]


def test_the_figures_of_an_older_scene_are_those_that_were_measured(
    panel: EmphysemaPanel, chest: Any, partner: Any, tmp_path: Path
) -> None:
    assert "Done" in compute(panel)
    lines, figures, rows = panel.ui.indexLabel.text, panel.ui.figuresLabel.text, panel._summary.csv
    panel._parameters.headline = panel._parameters.summary = ""
    save_and_load(panel, str(tmp_path / "old.mrb"))
    assert panel.ui.indexLabel.text == lines
    assert panel.ui.figuresLabel.text == figures
    assert SAVED in panel.ui.detailsLabel.text
    assert "Research use only" in panel.ui.detailsLabel.text
    assert "mL" in panel.ui.legendLabel.text
    assert panel.ui.tableView.mrmlTableNode() is panel._parameters.table
    assert panel.ui.histogramButton.enabled
    before, after = (list(csv.DictReader(text.splitlines())) for text in (rows, panel._summary.csv))
    assert [row["region"] for row in after] == [row["region"] for row in before if row["region"] in ("whole", "right", "left")]
    for row in after:
        same = next(r for r in before if (r["volume"], r["region"]) == (row["volume"], row["region"]))
        assert row["volume"] == same["volume"]
        numbers = {column for column in row if column.endswith("]") and same[column]}
        # a scene file keeps six digits
        assert {c: float(row[c]) for c in numbers} == pytest.approx({c: float(same[c]) for c in numbers}, rel=1e-5)
    assert "EI (%)" in panel._summary.text


def test_a_table_that_is_no_result_shows_nothing(app: Any) -> None:
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    assert savedHeadline(table) is None
    assert savedSummary(table) is None
    assert savedHeadline(None) is None
