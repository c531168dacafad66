"""The panel and the command line give one scan the same lung mask, the same indices, and say the same of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ctkernel.quantification_files import METRICS_CSV, lung_mask_for
from ctkernel.quantification_files import quantify as command_quantify
from ctkernel.report.text import interval_lines
from EmphysemaQuantLib.core.indices.prediction_interval import ENSEMBLE_KEY, ENSEMBLE_SD_KEY
from EmphysemaQuantLib.core.results import quantification
from EmphysemaQuantLib.core.results.quantification import quantify as panel_quantify
from EmphysemaQuantLib.ui.summary import asCsv, asText
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.simulated_chest import SamplePair, make_sample


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
    mask = lung_mask_for(pair, None, ProgressTracker())
    np.testing.assert_array_equal(panel.lung_mask.labels, mask.labels)
    np.testing.assert_array_equal(panel.lung_mask.airways, mask.airways)
    report = command_quantify((original, synthetic), mask, tmp_path)
    expected = {measured.synthetic: measured.whole.ei_percent for _, measured in report.panels}
    assert {result.synthetic: result.whole.ei_percent for result in panel.results} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("record", [{ENSEMBLE_KEY: {ENSEMBLE_SD_KEY: 0.4}}, {}], ids=["known error", "no known error"])
def test_table_and_interval_are_the_same(sample: SamplePair, tmp_path: Path, record: dict[str, object]) -> None:
    synthetic = sample.sharp.with_hu(sample.smooth.hu, name="normalized", synthetic=True)
    panel = quantification.with_intervals(panel_quantify(sample.sharp, synthetic), [{}, record])
    report = command_quantify((sample.sharp, synthetic), panel.lung_mask, tmp_path, provenance=record)
    (sentence,) = interval_lines(report)
    assert sentence in asText(panel)
    with (tmp_path / METRICS_CSV).open(encoding="utf-8", newline="") as file:
        of_command = list(csv.DictReader(file))
    of_panel = list(csv.DictReader(asCsv(panel).splitlines()))
    assert list(of_panel[0]) == list(of_command[0])
    # the command line adds thirds, core and rind
    assert of_panel == [row for row in of_command if row["region"] in ("whole", "right", "left")]
