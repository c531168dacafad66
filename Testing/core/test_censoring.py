"""Truncated voxels are estimated before the linear transfer: known tissue under known noise and floors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from KernelNormalizationLib.core.censoring import restore_slices
from KernelNormalizationLib.core.floor import HUFloor
from KernelNormalizationLib.core.linear import b20f_gain
from KernelNormalizationLib.core.radial import apply_gain

PIXEL = (0.7, 0.7)
GAIN = b20f_gain(80)
NOISE_SD = 100.0
TISSUE = np.s_[:, :, :30]
EMPHYSEMA, LUNG, AIR = np.s_[:, :, 60:110], np.s_[:, :, 140:190], np.s_[:, :, 215:250]
MEANS = {"emphysema": (EMPHYSEMA, -965.0), "lung": (LUNG, -870.0), "air": (AIR, -1000.0)}


def unclipped(sd: float = NOISE_SD) -> NDArray[np.float32]:
    """(2, 192, 256): tissue, emphysema, lung and air side by side under high-frequency noise as a sharp kernel makes it."""
    rng = np.random.default_rng(5)
    truth = np.full((2, 192, 256), 40.0)
    truth[:, :, 45:125], truth[:, :, 125:205], truth[:, :, 205:] = -965.0, -870.0, -1000.0
    white = rng.standard_normal(truth.shape)
    frequency = np.hypot(np.fft.fftfreq(192)[:, None], np.fft.fftfreq(256)[None, :])
    noise = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(frequency)).real
    return np.asarray(truth + noise * (sd / noise.std()), np.float32)


def stored(hu: NDArray[np.float32], kind: str, value: float = -1024.0) -> NDArray[np.float32]:
    below = np.maximum(hu, value) if kind == "clipped" else np.abs(hu - value) + value
    return np.rint(below).astype(np.float32)


# A floor at -1000 HU takes half of the air's voxels and with them more of what is known of it.
@pytest.mark.parametrize(("value", "within"), [(-1024.0, 5.0), (-1000.0, 8.0)])
def test_clipped_lung_emphysema_and_air_get_back_their_mean(value: float, within: float) -> None:
    sharp = stored(unclipped(), "clipped", value)
    linear, restored = apply_gain(sharp, PIXEL, GAIN), restore_slices(sharp, PIXEL, GAIN, HUFloor("clipped", value))
    assert linear[EMPHYSEMA].mean() > -965.0 + 12.0
    for name, (region, mean) in MEANS.items():
        assert restored[region].mean() == pytest.approx(mean, abs=within), name


def test_folded_air_and_lung_get_back_their_mean() -> None:
    sharp = stored(unclipped(70.0), "folded")
    linear, restored = apply_gain(sharp, PIXEL, GAIN), restore_slices(sharp, PIXEL, GAIN, HUFloor("folded", -1024.0))
    assert linear[AIR].mean() > -1000.0 + 30.0
    assert restored[AIR].mean() == pytest.approx(-1000.0, abs=12.0)
    assert restored[LUNG].mean() == pytest.approx(-870.0, abs=6.0)


def test_tissue_under_streaks_that_reach_the_floor_gets_back_its_mean() -> None:
    rng = np.random.default_rng(8)
    white = np.fft.fft2(rng.standard_normal((2, 192, 256)))
    noise = np.fft.ifft2(white * np.sqrt(np.hypot(np.fft.fftfreq(192)[:, None], np.fft.fftfreq(256)[None, :]))).real
    sharp = stored((20.0 + noise * (550.0 / noise.std())).astype(np.float32), "clipped")
    linear, restored = apply_gain(sharp, PIXEL, GAIN), restore_slices(sharp, PIXEL, GAIN, HUFloor("clipped", -1024.0))
    assert linear.mean() > 20.0 + 5.0
    assert restored.mean() == pytest.approx(20.0, abs=2.0)


def test_error_against_the_image_without_a_floor_is_at_least_halved() -> None:
    hu = unclipped()
    sharp, truth = stored(hu, "clipped"), apply_gain(hu, PIXEL, GAIN)
    linear, restored = apply_gain(sharp, PIXEL, GAIN), restore_slices(sharp, PIXEL, GAIN, HUFloor("clipped", -1024.0))
    for region in (EMPHYSEMA, AIR):
        assert np.abs(restored - truth)[region].mean() < 0.5 * np.abs(linear - truth)[region].mean()


def test_tissue_away_from_truncated_voxels_is_the_linear_transfer_exactly() -> None:
    sharp = stored(unclipped(), "clipped")
    restored = restore_slices(sharp, PIXEL, GAIN, HUFloor("clipped", -1024.0))
    np.testing.assert_allclose(restored[TISSUE], apply_gain(sharp, PIXEL, GAIN)[TISSUE], atol=0.05)


def test_without_a_floor_or_without_truncated_voxels_nothing_but_the_transfer_happens() -> None:
    hu = unclipped()
    assert np.array_equal(restore_slices(hu, PIXEL, GAIN, HUFloor("none", -1400.0)), apply_gain(hu, PIXEL, GAIN))
    dense = stored(unclipped() + 600.0, "clipped")
    assert np.array_equal(restore_slices(dense, PIXEL, GAIN, HUFloor("clipped", -1024.0)), apply_gain(dense, PIXEL, GAIN))


def test_a_slice_cut_off_at_the_floor_everywhere_stays_finite() -> None:
    """Outside its circle a scanner may write the floor itself."""
    sharp = stored(unclipped(20.0), "clipped")
    sharp[:, :, 205:] = -1024.0
    restored = restore_slices(sharp, PIXEL, GAIN, HUFloor("clipped", -1024.0))
    assert np.isfinite(restored).all()
    assert np.all(np.abs(restored[AIR] + 1024.0) < 12.0)


@pytest.mark.parametrize("side", [12, 40])
def test_troughs_of_noise_free_detail_are_never_lifted(side: int) -> None:
    """Lines in lung: their troughs are truncated although the mean round them is that of dense tissue without noise."""
    x = np.arange(256) * PIXEL[1]
    sharp = np.full((1, 192, 256), 40.0, np.float32)
    sharp[:, 50:142, 60:196] = -870.0
    lines = np.s_[:, 96 - side : 96 + side, 128 - side : 128 + side]
    sharp[lines] = -500.0 + 700.0 * np.cos(np.pi * x)[128 - side : 128 + side]
    cut = stored(sharp, "clipped")
    assert (cut[lines] == -1024.0).mean() > 0.2
    linear, restored = apply_gain(cut, PIXEL, GAIN)[lines], restore_slices(cut, PIXEL, GAIN, HUFloor("clipped", -1024.0))[lines]
    assert restored.mean() < linear.mean() + 0.1
