"""The interval of a normalized EI covers properties of the scanner that the scan does not determine."""

from __future__ import annotations

import math

import numpy as np
import pytest

from EmphysemaQuantLib.core.indices.left_open import OpenProperty, open_variances, read_left_open
from EmphysemaQuantLib.core.indices.prediction_interval import ErrorStratum, ei_interval
from KernelNormalizationLib.core.errors import InputError

MANY = ErrorStratum(0, 100, 0.5, 4000, 0.0, "simulated patients")
Z = 1.9600


def interval(*left_open: OpenProperty, ei: float = 20.0, stratum: ErrorStratum = MANY) -> tuple[float, float]:
    found = ei_interval(ei, (stratum,), left_open=left_open)
    assert found is not None
    return found.low - ei, found.high - ei


def test_a_range_open_on_both_sides_adds_the_variance_of_a_uniform_distribution() -> None:
    half = Z * math.hypot(0.5, 0.9 / math.sqrt(3.0))
    assert interval(OpenProperty("x", -0.9, 0.9)) == pytest.approx((-half, half), abs=2e-3)


def test_a_range_open_on_one_side_widens_that_side_only() -> None:
    low, high = interval(OpenProperty("x", 0.0, 1.2))
    assert low == pytest.approx(-Z * 0.5, abs=2e-3)
    assert high == pytest.approx(Z * math.hypot(0.5, 1.2 / math.sqrt(3.0)), abs=2e-3)


def test_means_of_shifts_to_the_same_side_add_and_opposite_ones_do_not() -> None:
    up, down = OpenProperty("x", 0.0, 1.2), OpenProperty("y", -0.6, 0.0)
    assert open_variances([up, up]) == pytest.approx((0.0, 2 * 1.2**2 / 3 + 2 * 0.6**2))
    assert open_variances([up, down]) == pytest.approx((0.6**2 / 3, 1.2**2 / 3))
    assert open_variances([]) == (0.0, 0.0)


@pytest.mark.parametrize(
    "ranges",
    [
        [(0.0, 1.0)],
        [(-1.0, 1.0)],
        [(0.0, 3.0), (-0.4, 0.0)],
        [(0.0, 2.0), (0.0, 2.0)],
        [(-2.0, 0.5), (-0.7, 0.0)],
        [(0.0, 8.0)],
    ],
)
def test_95_of_100_intervals_hold_an_index_that_lies_anywhere_in_what_is_open(ranges: list[tuple[float, float]]) -> None:
    rng = np.random.default_rng(3)
    low, high = interval(*(OpenProperty("x", *r) for r in ranges))
    off = rng.normal(0.0, 0.5, 200_000) + sum(rng.uniform(*r, 200_000) for r in ranges)
    assert np.mean((off >= low) & (off <= high)) > 0.94


def test_an_interval_stays_a_percentage_whatever_is_open() -> None:
    found = ei_interval(0.3, (MANY,), left_open=[OpenProperty("x", -30.0, 99.0)])
    assert found is not None
    assert (found.low, found.high) == (0.0, 100.0)


def test_what_is_open_makes_no_interval_where_the_error_is_unknown() -> None:
    assert ei_interval(3.0, left_open=[OpenProperty("x", -1.0, 1.0)]) is None


def record(*shifts: dict[str, object]) -> dict[str, object]:
    return {"ei_hypotheses": {"open": {"truncation": {"shifts": list(shifts)}, "lift": {"reason": "read from the scan"}}}}


def test_a_record_is_read_as_ranges_and_reasons_and_both_are_said() -> None:
    found = read_left_open(record({"points": 0.0, "chi2": 4.0}, {"points": 1.5, "chi2": 4.0}, {"points": -0.5, "chi2": 4.0}))
    assert found is not None
    truncation, lift = found
    assert (truncation.down, truncation.up) == (-0.5, 1.5)
    assert not lift.known
    shown = ei_interval(20.0, (MANY,), left_open=found)
    assert shown is not None
    assert "averaged into a slice (-0.50 to +1.50 points)" in shown.basis
    assert "not tried: read from the scan" in shown.basis
    assert interval(*found) == pytest.approx(interval(truncation))


def test_a_hypothesis_that_fits_the_scan_worse_counts_less() -> None:
    shifts = [{"points": 0.0, "chi2": 5.0}, {"points": 2.0, "chi2": 9.0}, {"points": -1.0, "chi2": 4.0}]
    found = read_left_open(record(*shifts))
    assert found is not None
    assert (found[0].down, found[0].up) == pytest.approx((-1.0, 2.0 * math.exp(-5.0 / 8.0)))


def test_where_even_the_best_fits_poorly_a_worse_fit_counts_for_more() -> None:
    found = read_left_open(record({"points": 0.0, "chi2": 35.0}, {"points": 2.0, "chi2": 45.0}))
    assert found is not None
    assert found[0].up == pytest.approx(2.0 * math.exp(-10.0 / (8.0 * 35.0 / 7.0)))


def test_a_record_without_hypotheses_is_known_as_old_and_a_damaged_one_is_refused() -> None:
    assert read_left_open({"method": "unet"}) is None
    for damaged in ({"open": {"lift": {}}}, {"open": 3}, "text", {"open": {"lift": {"shifts": [{"points": float("nan")}]}}}):
        with pytest.raises(InputError, match="normalize again"):
            read_left_open({"ei_hypotheses": damaged})
