"""Change over time from a cohort's table, and the numbers of its summary page, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctkernel.cohort.case import Failure, Found
from ctkernel.cohort.change import changes_of
from ctkernel.cohort.settings import CohortSettings
from ctkernel.cohort.statistics import agreement, numbers_of, outliers
from ctkernel.cohort.summary import SUMMARY, write_summary


def row(case: str, volume: str = "original", **more: Any) -> dict[str, Any]:
    """A whole-lung row of the tidy table."""
    usual: dict[str, Any] = {
        "case": case,
        "volume": volume,
        "region": "whole",
        "patient": "P1",
        "date": "2020-01-01",
        "ei_percent": 5.0,
        "perc15_hu": -920.0,
        "tlv_ml": 5000.0,
        "kernel": "B20f",
        "scan_kernel": "B70f",
        "manufacturer": "SIEMENS",
        "scanner_model": "Sensation 16",
        "slice_spacing_mm": 1.0,
        "lung_mask": "ok",
        "verdict": "in domain",
        "floor_kind": "averaged",
        "floor_hu": -1024.0,
        "lung_voxels_at_floor_percent": 0.5,
    }
    return usual | more


def test_change_is_adjusted_to_the_lung_volume_of_the_first_date() -> None:
    rows = [row("a"), row("b", date="2022-01-01", perc15_hu=-930.0, tlv_ml=5500.0, ei_percent=9.0)]
    normalized, original = changes_of(rows)
    assert (normalized["basis"], original["basis"]) == ("normalized", "original")
    # density 70 g/L at 5.5 L is 77 g/L at 5.0 L: 3 HU below the baseline's 80 g/L
    assert original["perc15_adjusted_change_hu"] == pytest.approx(-3.0)
    assert original["density_adjusted_change_percent"] == pytest.approx(-3.75)
    assert original["perc15_change_hu"] == pytest.approx(-10.0)
    assert original["years"] == pytest.approx(731 / 365.25)
    assert original["ei_change_points"] == pytest.approx(4.0)
    assert original["beyond_limits"] == "yes"  # EI rose by over 3.7 points
    assert original["beyond_repeatability"] == "no"
    assert original["doubts"] == ""


def test_the_normalized_volume_is_compared_where_there_is_one() -> None:
    rows = [
        row("a", ei_percent=20.0, kernel="B70f"),
        row("a", "normalized", ei_percent=4.0, kernel="B20f (synthetic)"),
        row("b", date="2021-01-01", ei_percent=4.5),
    ]
    normalized, original = changes_of(rows)
    assert normalized["ei_change_points"] == pytest.approx(0.5)
    assert original["ei_change_points"] == pytest.approx(-15.5)
    assert "kernels differ" in original["doubts"]


def test_a_lung_volume_that_differs_by_a_fifth_is_a_doubt_and_one_date_is_no_change() -> None:
    later = row("b", date="2021-01-01", tlv_ml=3900.0)
    assert "adjustment is not reliable" in changes_of([row("a"), later])[0]["doubts"]
    assert changes_of([row("a"), row("b")]) == []


def test_limits_of_agreement_are_those_of_bland_and_altman() -> None:
    found = agreement([(5.0, 4.0), (7.0, 5.0), (9.0, 6.0)])
    assert found is not None
    assert found.bias == pytest.approx(2.0)
    assert found.limits == pytest.approx((2.0 - 1.96, 2.0 + 1.96))  # the differences 1, 2, 3 have an SD of 1
    two = agreement([(5.0, 4.0), (7.0, 5.0)])
    assert two is not None
    assert two.limits is None
    assert agreement([]) is None


def test_a_case_unlike_the_others_or_far_from_its_partner_is_to_be_looked_at() -> None:
    rows = []
    for number in range(10):
        case = f"c{number}"
        rows += [row(case, ei_percent=20.0 + 0.1 * number), row(case, "normalized", ei_percent=5.0 + 0.05 * number)]
    rows += [row("odd", ei_percent=20.0), row("odd", "normalized", ei_percent=19.0)]
    rows += [row("pair", ei_percent=20.5), row("pair", "normalized", ei_percent=5.2), row("pair", "soft", ei_percent=1.0)]
    rows += [row("mask", lung_mask="look", ei_percent=20.5), row("mask", "normalized", ei_percent=5.2)]
    found = {item.numbers.case: " ".join(item.reasons) for item in outliers(numbers_of(rows))}
    assert set(found) == {"odd", "pair", "mask"}
    assert "unlike" in found["odd"]
    assert "+4.2 points from the soft partner's 1.0 %" in found["pair"]
    assert "lung mask" in found["mask"]


def test_no_text_of_a_scan_becomes_markup_of_the_summary(tmp_path: Path) -> None:
    markup, control = "<img src=x onerror=alert(1)>", "B70f\x1b[2J\u202e"
    numbers = numbers_of([row("a", scan_kernel=markup, verdict=control), row("a", "normalized", kernel="B20f (synthetic)")])
    found = Found(())
    write_summary(tmp_path, numbers, [Failure(markup, f"{control} {markup}")], found, CohortSettings())
    page = (tmp_path / SUMMARY).read_text(encoding="utf-8")
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 3
    assert markup not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
