"""The name that a user types for a report, and the kind of file that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from emphysemapanel import chest, compute, panel, partner

from EmphysemaQuantLib.ui.report_saving import reportPath
from EmphysemaQuantLib.ui.widget import EmphysemaPanel
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.selftest.base import waitUntil

__all__ = ["chest", "panel", "partner"]


@pytest.mark.parametrize("name", ["study.html", "study.PDF", "study.txt", "study.csv"])
def test_a_suffix_that_the_dialog_offers_stays(tmp_path: Path, name: str) -> None:
    assert reportPath(str(tmp_path / name)) == tmp_path / name


@pytest.mark.parametrize("name", ["study 4", "study v1.2", "Thorax 1.0"])
def test_a_name_without_suffix_is_that_of_a_page(tmp_path: Path, name: str) -> None:
    assert reportPath(str(tmp_path / name)) == tmp_path / f"{name}.html"


def test_a_page_that_the_dialog_could_not_ask_about_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "study.html").write_text("of another day")
    with pytest.raises(InputError, match=r"^study\.html exists already\. Choose it"):
        reportPath(str(tmp_path / "study"))


def test_the_panel_writes_a_page_for_a_name_without_suffix(panel: EmphysemaPanel, chest: Any, app: Any, tmp_path: Path) -> None:
    compute(panel)
    app.chosen_file = str(tmp_path / "study 4")
    panel.ui.saveReportButton.click()
    waitUntil(lambda: "Writing" not in panel.ui.statusLabel.text, "the report")
    assert panel.ui.statusLabel.text.startswith("Report written to study 4.html")
    panel.ui.saveReportButton.click()
    assert panel.ui.statusLabel.text.startswith("The report was not written: study 4.html exists already.")
