"""The checks of what the noise tells of a kernel: they pass where they should and fail where they must."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from core.chests import make_chest

from KernelNormalizationLib.core.io.file_conversion import create_normalizer
from KernelNormalizationLib.core.kernels.mtf import KERNELS
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.methods.protocol import Method, NormalizationResult
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.volume import CTVolume
from training.checking.kernel_noise import NoiseCurve, gain_of_pair, gains_of_real_pairs, tag_and_no_tag
from training.checking.outcomes import Outcome
from training.checking.stability import Scan
from training.kernel_noise import main, save_spectra

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class NeedsTheTag:
    """Moves the lungs by 10 HU where there is no tag."""

    method: Method = "linear"

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        shift = 0.0 if volume.acquisition.kernel else 10.0
        return NormalizationResult(volume.with_hu(volume.hu + np.float32(shift), name="moved", synthetic=True), {})


@pytest.fixture(scope="module")
def scan() -> Scan:
    made = make_chest(side=400, slices=8, number=80.0, kernel="B80f")
    return Scan("chest", made.volume, made.lungs)


@pytest.mark.slow
def test_the_product_passes_and_a_method_that_needs_the_tag_fails(scan: Scan) -> None:
    found = list(tag_and_no_tag({"linear": create_normalizer("linear"), "needs": NeedsTheTag()}, [scan]))
    outcomes = [outcome for outcome in found if isinstance(outcome, Outcome)]
    assert all(outcome.passed for outcome in outcomes if outcome.method == "linear")
    l1 = next(outcome for outcome in outcomes if outcome.method == "needs" and "L1" in outcome.case)
    assert l1.value == pytest.approx(10.0, abs=0.01)
    assert not l1.passed


def test_the_gain_between_two_images_is_the_one_that_made_the_second(scan: Scan) -> None:
    hu, frequency = scan.volume.hu, np.array([1.5, 2.5, 3.5])

    def gain(f: np.ndarray) -> np.ndarray:
        return np.exp(-((f / 3.0) ** 2))

    pixel = scan.volume.geometry.spacing[1]
    measured = gain_of_pair(hu, apply_gain(hu, (pixel, pixel), gain), pixel, frequency)
    np.testing.assert_allclose(measured, gain(frequency), atol=0.03)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="real scans are not here")
def test_gains_read_from_the_noise_of_real_pairs_agree_with_the_measured_ones() -> None:
    outcomes = [found for found in gains_of_real_pairs(REAL) if isinstance(found, Outcome)]
    assert len(outcomes) == 10
    assert all(outcome.passed for outcome in outcomes)


def test_without_data_the_command_says_what_to_give(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["--real", str(tmp_path), "--plot", str(tmp_path / "out.png")]) == 2
    assert "give --real or --pairs" in caplog.text


def test_the_picture_is_written(tmp_path: Path) -> None:
    frequency = np.linspace(0.0, 8.0, 21)
    curve = NoiseCurve("published", frequency, frequency * KERNELS[20].mtf(frequency) ** 2)
    save_spectra([curve, replace(curve, label="simulated")], tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
