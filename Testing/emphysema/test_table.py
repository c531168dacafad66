from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from emphysema.phantom import make

from EmphysemaQuantLib.core.indices.prediction_interval import EIInterval
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.measurement import Measurement, measure
from EmphysemaQuantLib.core.results.table import (
    AIRWAYS_COLUMN,
    COLUMNS,
    INTERVAL_COLUMNS,
    csv_text,
    measurement_rows,
    safe_cell,
)
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError


@pytest.fixture(scope="module")
def chest() -> Measurement:
    phantom = make(noise_hu=60.0)
    labels = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
    return measure([replace(phantom.volume, name="chest 7")], LungMask(labels, phantom.airways, MaskQuality("ok")))


def altered(measurement: Measurement, **changes: Any) -> Measurement:
    return replace(measurement, volumes=(replace(measurement.volume, **changes),))


def read_back(measurement: Measurement) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(measurement_rows(measurement)))))


def test_one_row_a_region_with_units_in_the_header(chest: Measurement) -> None:
    back, volume = read_back(chest), chest.volume
    assert [r["region"] for r in back] == [r.region for r in volume.regions]
    assert all("[" in c for c in (*COLUMNS, *INTERVAL_COLUMNS) if c not in ("voxels", "skewness", "excess kurtosis"))
    assert float(back[0]["EI [%]"]) == pytest.approx(volume.whole.ei_percent, abs=1e-4)
    assert float(back[0]["Perc15 [HU]"]) == pytest.approx(volume.whole.perc15_hu, abs=1e-4)
    assert {r["use"] for r in back} == {RESEARCH_USE}
    assert {(r["volume"], r["kind"], r["synthetic"], r["lung mask"]) for r in back} == {("chest 7", "raw", "no", "ok")}


def test_the_interval_stands_with_both_lungs_and_nowhere_else(chest: Measurement) -> None:
    back = read_back(altered(chest, interval=EIInterval(1.25, 3.5, "46 patients")))
    assert [back[0][c] for c in INTERVAL_COLUMNS] == ["1.25", "3.5"]
    assert all(row[c] == "" for row in back[1:] for c in INTERVAL_COLUMNS)


def test_airways_left_out_stand_with_both_lungs_and_are_blank_where_none_are_known(chest: Measurement) -> None:
    known = read_back(chest)
    assert float(known[0][AIRWAYS_COLUMN]) == pytest.approx(chest.volume.airways_ml, abs=1e-4)
    assert float(known[0][AIRWAYS_COLUMN]) > 20.0
    assert {row[AIRWAYS_COLUMN] for row in known[1:]} == {""}
    assert {row[AIRWAYS_COLUMN] for row in read_back(altered(chest, airways_ml=None))} == {""}


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "  =cmd|' /C calc'!A0", "\n=1", "|x", "\x0b=1", "\ufeff=1", "＝1+1"],
)
def test_text_that_a_spreadsheet_would_run_is_quoted(chest: Measurement, text: str) -> None:
    assert safe_cell(text) == "'" + text
    assert measurement_rows(altered(chest, ct=replace(chest.volume.ct, name=text)))[0]["volume"] == "'" + text


@pytest.mark.parametrize("text", ["CT B70f", "right upper lobe", "7-chest", ""])
def test_harmless_text_is_left_alone(text):
    assert safe_cell(text) == text


def test_a_table_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one volume"):
        csv_text([])
