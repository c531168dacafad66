"""The kernel read back from noise that was made with a known one, and from real scans."""

from __future__ import annotations

import numpy as np
import pytest
from core.chests import coloured_noise, make_chest

from KernelNormalizationLib.core.imaging.filters import smoothed
from KernelNormalizationLib.core.kernels.noise_sharpness import (
    Sharpness,
    estimate_sharpness,
    expected_rho1,
    kernel_number_of_rho1,
)
from KernelNormalizationLib.core.suitability import Suitability
from KernelNormalizationLib.core.volume import CTVolume, Geometry


def tissue(number: float, pixel_mm: float, sd: float = 40.0, side: int = 160, slices: int = 8) -> CTVolume:
    """Uniform tissue of 40 HU below a strip of air, with the noise of kernel ``number``."""
    hu = 40.0 + coloured_noise(number, (slices, side, side), pixel_mm, sd)
    hu[:, : side // 4] -= 1040.0
    return CTVolume(np.rint(hu).astype(np.float32), Geometry((1.0, pixel_mm, pixel_mm)))


def read(volume: CTVolume) -> Sharpness:
    sharpness = estimate_sharpness(volume)
    assert sharpness is not None
    return sharpness


@pytest.mark.parametrize("pixel_mm", [0.55, 0.7, 0.85])
@pytest.mark.parametrize("number", [20.0, 35.0, 50.0, 60.0, 70.0])
def test_the_kernel_that_coloured_the_noise_is_found(number: float, pixel_mm: float) -> None:
    sharpness = read(tissue(number, pixel_mm))
    # neighbouring kernels are 10 apart; half of that keeps them distinct
    assert sharpness.kernel_number == pytest.approx(number, abs=5.0)


@pytest.mark.parametrize("sd", [10.0, 40.0, 90.0])
def test_dose_does_not_look_like_sharpness(sd: float) -> None:
    sharpness = read(tissue(60.0, 0.7, sd))
    assert sharpness.kernel_number == pytest.approx(60.0, abs=5.0)
    # the Gaussian of 3 pixels takes little of a sharp kernel's noise away
    assert sharpness.noise_sd == pytest.approx(sd, rel=0.08)


def test_rho1_is_what_the_model_predicts() -> None:
    # 120 000 voxels fix a correlation to about 0.003; anatomy and rounding add little
    assert read(tissue(50.0, 0.7)).rho1 == pytest.approx(expected_rho1(50.0, 0.7), abs=0.03)


def test_rho1_falls_with_sharpness() -> None:
    # published B60f and B70f noise has the same colour within .02, and B80f's boost lies lower
    values = [expected_rho1(number, 0.7) for number in (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.5


def test_a_body_with_lungs_reads_the_same_as_its_tissue() -> None:
    # few flat patches: read from rho1, which tells kernels apart up to B55f
    assert read(make_chest(number=50.0, side=192).volume).kernel_number == pytest.approx(50.0, abs=6.0)


def test_padding_is_not_taken_for_an_edge() -> None:
    with_padding = read(make_chest(number=50.0, side=192, padding=-2048.0).volume)
    assert with_padding.kernel_number == pytest.approx(50.0, abs=6.0)


def test_a_sharper_kernel_than_rho1_can_tell_reads_as_b70f() -> None:
    for number in (60.0, 70.0):
        assert kernel_number_of_rho1(expected_rho1(number, 0.7), 0.7) >= 68.0


def test_without_tissue_nothing_is_claimed() -> None:
    lung = np.full((8, 64, 64), -870.0, np.float32) + coloured_noise(70.0, (8, 64, 64), 0.7, 40.0)
    assert estimate_sharpness(CTVolume(lung, Geometry((1.0, 0.7, 0.7)))) is None


def test_without_noise_nothing_is_claimed() -> None:
    hu = np.full((8, 64, 64), 40.0, np.float32)
    hu[:, :16] = -1000.0
    hu[:, 16:32] = -500.0
    sharpness = estimate_sharpness(CTVolume(hu, Geometry((1.0, 0.7, 0.7))))
    assert sharpness is None or 10.0 <= sharpness.kernel_number <= 80.0


def test_smoothing_is_in_plane_and_keeps_the_mean() -> None:
    hu = np.zeros((9, 33, 33), np.float32)
    hu[4, 16, 16] = 1000.0
    out = smoothed(hu, 2.0)
    assert np.flatnonzero(np.abs(out).max(axis=(1, 2)) > 1e-3).tolist() == [4]
    # the recursive approximation of a Gaussian is good to a few tenths of a per cent
    assert out.sum() == pytest.approx(1000.0, rel=5e-3)
    assert out[4, 16, 16] == pytest.approx(1000.0 / (2.0 * np.pi * 4.0), rel=0.03)
    assert out[4, 16, 18] == pytest.approx(out[4, 18, 16], rel=1e-3)


def test_the_real_series_read_sharp_and_soft(verdicts: dict[str, Suitability]) -> None:
    siemens, sharp, soft = (verdicts[name].sharpness for name in ("siemens", "sharp", "soft"))
    assert siemens is not None
    assert sharp is not None
    assert soft is not None
    assert siemens.kernel_number == pytest.approx(70.0, abs=8.0)
    # another maker's kernels have no Siemens number; the soft one is smooth and the order is certain
    assert 10.0 <= soft.kernel_number <= 32.0
    assert sharp.kernel_number > soft.kernel_number + 10.0
    assert sharp.noise_sd > 3.0 * soft.noise_sd
