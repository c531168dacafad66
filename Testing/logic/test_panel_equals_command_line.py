"""The panel and the command line give one scan the same lung mask and the same indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from EmphysemaQuantLib.analysis import quantify as panel_quantify
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.sample import SamplePair, make_sample
from workstation.quantify import lung_mask_for
from workstation.quantify import quantify as command_quantify


@pytest.fixture(scope="module")
def sample() -> SamplePair:
    return make_sample(3, (24, 208, 208), (10.0, 1.6, 1.6))


@pytest.mark.parametrize("synthetic_first", [False, True])
def test_original_and_synthetic_volume_measure_alike_on_the_mask_of_the_original(
    sample: SamplePair, tmp_path: Path, synthetic_first: bool
) -> None:
    original = sample.sharp
    synthetic = original.with_hu(sample.smooth.hu, name="normalized", synthetic=True)
    pair = (synthetic, original) if synthetic_first else (original, synthetic)
    panel = panel_quantify(*pair)
    mask = lung_mask_for(original, None, ProgressTracker())
    np.testing.assert_array_equal(panel.lung_mask.labels, mask.labels)
    report = command_quantify((original, synthetic), mask, tmp_path)
    expected = {measured.synthetic: measured.whole.ei_percent for _, measured in report.panels}
    assert {result.synthetic: result.whole.ei_percent for result in panel.results} == pytest.approx(expected, abs=1e-9)
