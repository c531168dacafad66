from __future__ import annotations

import csv
import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from emphysema.phantom import make

from EmphysemaQuantLib.core.interval import ErrorStratum, ei_interval
from EmphysemaQuantLib.core.lungs import LungMask
from EmphysemaQuantLib.core.quality import MaskQuality
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import Acquisition
from KernelNormalizationLib.core.write import RESEARCH_USE
from workstation.report import make_report, write_report
from workstation.report_figures import cut, worst_levels
from workstation.report_html import page
from workstation.report_pdf import LOWEST, _draw, draw_page
from workstation.report_tables import CSV_COLUMNS, csv_rows, json_record, safe_cell
from workstation.report_text import verdicts


@pytest.fixture(scope="module")
def pair():
    phantom = make(noise_hu=60.0)
    labels = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
    raw = replace(phantom.volume, name="chest 7", acquisition=Acquisition(kernel="B70f", manufacturer="SIEMENS"))
    smooth = replace(make().volume, name="chest 7 B20f (synthetic)", synthetic=True)
    return raw, smooth, LungMask(labels, phantom.airways, MaskQuality("ok"))


@pytest.fixture(scope="module")
def report(pair):
    raw, smooth, mask = pair
    return make_report(raw, mask, smooth, provenance={"method": "unet", "model_sha256": "ab12", "warnings": ["Thick."]})


def test_all_four_files_are_written_and_say_research_use(report, tmp_path):
    paths = write_report(report, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"report.pdf", "report.html", "indices.csv", "indices.json"}
    assert paths["pdf"].read_bytes().startswith(b"%PDF")
    assert paths["html"].read_text(encoding="utf-8").count(RESEARCH_USE) >= 2
    assert all(row["use"] == RESEARCH_USE for row in csv.DictReader(paths["csv"].open(encoding="utf-8")))
    assert json.loads(paths["json"].read_text())["use"] == RESEARCH_USE


def test_a_missing_folder_is_refused(report, tmp_path):
    with pytest.raises(InputError, match="absent"):
        write_report(report, tmp_path / "absent")


def test_the_csv_is_tidy_with_units_in_its_header(report):
    rows = csv_rows(report)
    assert len(rows) == 2 * len(report.raw_panel.regions)
    assert len({(r["volume"], r["region"]) for r in rows}) == len(rows)
    assert all("[" in c for c in CSV_COLUMNS if c not in ("voxels", "skewness", "excess kurtosis"))
    first = rows[0]
    assert (first["kind"], first["synthetic"], first["region"]) == ("raw", "no", "whole")
    assert first["EI [%]"] == pytest.approx(report.raw_panel.whole.ei_percent, abs=1e-4)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "  =cmd|' /C calc'!A0", "\n=1", "|x", "\x0b=1", "\ufeff=1", "＝1+1"],
)
def test_text_that_a_spreadsheet_would_run_is_quoted(text):
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["CT B70f", "right upper lobe", "7-chest", ""])
def test_harmless_text_is_left_alone(text):
    assert safe_cell(text) == text


def test_a_dangerous_volume_name_is_disarmed_in_csv_and_html(pair):
    raw, _, mask = pair
    evil = make_report(replace(raw, name='=HYPERLINK("http://x")<script>alert(1)</script>'), mask)
    assert str(csv_rows(evil)[0]["volume"]).startswith("'=")
    html = page(evil)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_web_page_loads_nothing_from_outside(report):
    html = page(report)
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert "default-src 'none'" in html
    assert "url(" not in html


def test_the_heading_is_the_callers_label_or_the_volume_name(pair):
    raw, _, mask = pair
    assert "chest 7" in page(make_report(raw, mask))
    assert "Study 4" in page(make_report(raw, mask, label="Study 4"))


def test_json_holds_every_result_and_no_nan(report):
    record = json_record(report)
    text = json.dumps(record, allow_nan=False)
    raw, normalized = record["volumes"]
    assert (raw["kind"], normalized["synthetic"]) == ("raw", True)
    assert len(raw["regions"]) == 8
    assert record["agreement"]["dice"] == report.agreement.dice
    assert "ab12" in text


def test_a_sharp_raw_scan_alone_is_called_too_high(pair):
    raw, _, mask = pair
    assert any("too high" in line for line in verdicts(make_report(raw, mask)))


def test_a_low_index_is_called_unreliable_in_place(report):
    assert report.normalized_panel.whole.ei_percent < 5
    assert any("Location unreliable" in line for line in verdicts(report))


def test_doubts_about_the_mask_come_first(pair):
    raw, smooth, mask = pair
    doubted = replace(mask, quality=MaskQuality("look", ("The apex is cut.",)))
    lines = verdicts(make_report(raw, doubted, smooth))
    assert lines[0] == "Lung mask: look at it. The apex is cut."


def test_the_page_fits_even_with_lobes_and_many_doubts(pair, caplog):
    raw, smooth, mask = pair
    lobes = np.where(mask.labels == 1, 1 + np.arange(150)[None, :, None] // 60, 4).astype(np.uint8)
    lobes[(mask.labels == 2) & (np.arange(72)[:, None, None] > 40)] = 5
    reasons = tuple(f"Finding {n} is described here in a sentence of the usual length for a reader." for n in range(7))
    crowded = make_report(raw, replace(mask, lobes=lobes, quality=MaskQuality("look", reasons)), smooth)
    from workstation.report_figures import views

    _, end = _draw(crowded, views(crowded), 0.0)
    assert end < LOWEST
    with caplog.at_level(logging.WARNING):
        figure = draw_page(crowded)
    assert not caplog.records
    lowest = min(t.get_position()[1] for t in figure.texts if t.get_text() != RESEARCH_USE)
    assert lowest >= LOWEST


def test_pictures_stand_upright_whatever_the_stored_order(pair):
    raw, _, mask = pair
    levels = worst_levels(raw, mask.mask, -950.0)
    upright = cut(raw, mask.mask, levels, -950.0, "coronal")
    direction = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    turned = replace(
        raw,
        hu=np.ascontiguousarray(raw.hu[::-1, :, ::-1]),
        geometry=replace(raw.geometry, direction=direction),
    )
    lungs = np.ascontiguousarray(mask.mask[::-1, :, ::-1])
    assert worst_levels(turned, lungs, -950.0) == levels
    assert np.array_equal(cut(turned, lungs, levels, -950.0, "coronal").hu, upright.hu)
    # the head is up: the trachea's air lies in the upper rows
    assert upright.plane == "coronal"


def test_an_interval_adds_the_errors_of_its_stratum_and_the_ensemble():
    strata = (ErrorStratum(0, 5, 0.4, 30), ErrorStratum(5, 100, 1.5, 12))
    low = ei_interval(2.0, strata, ensemble_sd_points=0.3)
    assert (low.low, low.high) == pytest.approx((2 - 1.96 * 0.5, 2 + 1.96 * 0.5))
    assert "30 patients" in low.basis
    assert ei_interval(0.1, strata).low == 0.0
    assert ei_interval(20.0, strata).high == pytest.approx(20 + 1.96 * 1.5)
    assert ei_interval(20.0) is None
    with pytest.raises(InputError, match="130"):
        ei_interval(130.0)
