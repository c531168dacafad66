from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from emphysema.phantom import make

from EmphysemaQuantLib.core.indices.prediction_interval import EIInterval
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.measurement import measure_panel
from EmphysemaQuantLib.core.results.table import (
    AIRWAYS_COLUMN,
    COLUMNS,
    INTERVAL_COLUMNS,
    MaskNote,
    csv_text,
    safe_cell,
    volume_rows,
)
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.writing import RESEARCH_USE


@pytest.fixture(scope="module")
def panel():
    phantom = make(noise_hu=60.0)
    labels = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
    return measure_panel(phantom.volume, LungMask(labels, phantom.airways, MaskQuality("ok")))


def read_back(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_one_row_a_region_with_units_in_the_header(panel):
    rows = volume_rows("chest 7", "raw", False, panel.regions, MaskNote("ok"))
    back = read_back(csv_text(rows))
    assert [r["region"] for r in back] == [r.region for r in panel.regions]
    assert all("[" in c for c in (*COLUMNS, *INTERVAL_COLUMNS) if c not in ("voxels", "skewness", "excess kurtosis"))
    assert float(back[0]["EI [%]"]) == pytest.approx(panel.whole.ei_percent, abs=1e-4)
    assert float(back[0]["Perc15 [HU]"]) == pytest.approx(panel.whole.perc15_hu, abs=1e-4)
    assert {r["use"] for r in back} == {RESEARCH_USE}
    assert {(r["volume"], r["kind"], r["synthetic"], r["lung mask"]) for r in back} == {("chest 7", "raw", "no", "ok")}


def test_the_interval_stands_with_both_lungs_and_nowhere_else(panel):
    rows = volume_rows("n", "normalized", True, panel.regions, MaskNote("ok"), EIInterval(1.25, 3.5, "46 patients"))
    back = read_back(csv_text(rows))
    assert [back[0][c] for c in INTERVAL_COLUMNS] == ["1.25", "3.5"]
    assert all(row[c] == "" for row in back[1:] for c in INTERVAL_COLUMNS)


def test_airways_left_out_stand_with_both_lungs_and_are_blank_where_none_are_known(panel):
    known = read_back(csv_text(volume_rows("n", "raw", False, panel.regions, MaskNote("ok", panel.airways_ml))))
    assert float(known[0][AIRWAYS_COLUMN]) == pytest.approx(panel.airways_ml, abs=1e-4)
    assert panel.airways_ml > 20.0
    assert {row[AIRWAYS_COLUMN] for row in known[1:]} == {""}
    unknown = read_back(csv_text(volume_rows("n", "raw", False, panel.regions, MaskNote("ok"))))
    assert {row[AIRWAYS_COLUMN] for row in unknown} == {""}


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "  =cmd|' /C calc'!A0", "\n=1", "|x", "\x0b=1", "\ufeff=1", "＝1+1"],
)
def test_text_that_a_spreadsheet_would_run_is_quoted(panel, text):
    assert safe_cell(text) == "'" + text
    assert volume_rows(text, "raw", False, panel.regions, MaskNote("ok"))[0]["volume"] == "'" + text


@pytest.mark.parametrize("text", ["CT B70f", "right upper lobe", "7-chest", ""])
def test_harmless_text_is_left_alone(text):
    assert safe_cell(text) == text


def test_a_table_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one volume"):
        csv_text([])
