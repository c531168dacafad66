"""Scans whose low values were cut off: no index below the value at which they end."""

from __future__ import annotations

import numpy as np
import pytest

from EmphysemaQuantLib.core.indices.longitudinal import compare_dates
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.measurement import MeasurementSettings, measure
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume, Geometry

SHAPE = (16, 48, 60)


@pytest.fixture(scope="module")
def mask() -> LungMask:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:13, 14:34, 10:26], labels[3:13, 14:34, 34:50] = 1, 2
    return LungMask(labels, np.zeros(SHAPE, bool), MaskQuality("ok"))


def chest(mask: LungMask, lowest: float) -> CTVolume:
    """Lungs of -940 HU with noise of 30 HU, air around the body, and nothing below ``lowest`` HU."""
    hu = np.where(mask.labels > 0, -940.0, 40.0)
    hu[:, :6] = -1000.0
    hu += np.random.default_rng(1).normal(0.0, 30.0, SHAPE)
    return CTVolume(np.clip(hu, lowest, None).astype(np.float32), Geometry((8.0, 5.0, 5.0)), name="cut")


@pytest.mark.parametrize(
    ("lowest", "threshold"), [(-960.0, -980.0), (-960.0, -960.0), (-950.0, -950.0), (-900.0, -950.0), (-990.0, -1000.0)]
)
def test_a_threshold_at_or_below_the_lowest_value_is_refused(mask: LungMask, lowest: float, threshold: float) -> None:
    scan = chest(mask, lowest)
    with pytest.raises(InputError, match=f"“cut” holds no values below {lowest:g} HU.*give a threshold above that value"):
        measure([scan], mask, MeasurementSettings(threshold))
    with pytest.raises(InputError, match=f"“cut” holds no values below {lowest:g} HU"):
        compare_dates((chest(mask, -1024.0), mask), (scan, mask), threshold)


@pytest.mark.parametrize(("lowest", "threshold"), [(-960.0, -950.0), (-1024.0, -1000.0), (-1024.0, -980.0)])
def test_above_it_the_index_is_that_of_the_whole_scan(mask: LungMask, lowest: float, threshold: float) -> None:
    whole, cut = chest(mask, -2000.0), chest(mask, lowest)
    expected = 100.0 * float(np.mean(whole.hu[mask.mask] < threshold))
    assert expected > 1.0
    assert measure([cut], mask, MeasurementSettings(threshold)).volume.whole.ei_percent == pytest.approx(expected)


def test_a_phantom_without_noise_was_not_cut_off(mask: LungMask) -> None:
    hu = np.where(mask.labels > 0, -980.0, 40.0).astype(np.float32)
    phantom = CTVolume(hu, Geometry((8.0, 5.0, 5.0)))
    assert [measure([phantom], mask, MeasurementSettings(t)).volume.whole.ei_percent for t in (-970.0, -980.0)] == [100.0, 0.0]
