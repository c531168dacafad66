"""Kernels and the linear transfer between them, against measurements and against what a radial filter must do."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from core.chests import coloured_noise, make_chest
from hypothesis import given
from hypothesis import strategies as st

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.measured_gains import MEASURED_GAINS
from KernelNormalizationLib.core.kernels.mtf import KERNELS, gain_to_b20f, kernel_mtf, kernel_number, measured_gain
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.kernels.transfer import b20f_gain, find_transfer
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.volume import CTVolume, Geometry

MEASURED = Path(__file__).resolve().parents[3] / "shared" / "physics" / "siemens_kernel_transfer.csv"


@pytest.mark.parametrize(
    ("tag", "number"),
    [("B70f", 70), ("b30F", 30), (" B20f ", 20), ("B35s", 35), ("B80", 80), ("B10f", 10)],
)
def test_siemens_b_tags_have_a_number(tag: str, number: int) -> None:
    assert kernel_number(tag) == number


@pytest.mark.parametrize(
    "tag", [None, "", "L", "B", "FC51", "I70f\\3", "Br40d\\3", "B99f", "B05f", "LUNG", "B70f B20f", "AB70f"]
)
def test_other_tags_have_none(tag: str | None) -> None:
    assert kernel_number(tag) is None


@given(st.floats(10.0, 80.0))
def test_every_kernel_keeps_the_mean(number: float) -> None:
    assert kernel_mtf(number, 0.0) == pytest.approx(1.0, abs=1e-9)
    assert gain_to_b20f(number, 0.0) == pytest.approx(1.0, abs=1e-9)


@given(st.floats(10.0, 80.0), st.floats(0.0, 15.0))
def test_no_gain_is_negative_or_amplifies_beyond_the_measured_bump(number: float, frequency: float) -> None:
    assert 0.0 <= gain_to_b20f(number, frequency) <= 1.08


@pytest.mark.parametrize("number", [-1.0, 9.9, 80.1])
def test_a_kernel_outside_the_family_is_refused_by_value(number: float) -> None:
    with pytest.raises(InputError, match=f"Kernel number {number} is outside 10 to 80"):
        kernel_mtf(number, 1.0)


@pytest.mark.parametrize(
    ("number", "half", "tenth"),
    [
        (10, 2.8, 4.7),
        (20, 3.2, 5.6),
        (30, 3.8, 6.3),
        (40, 4.3, 7.2),
        (45, 5.8, 7.8),
        (50, 7.3, 9.1),
        (60, 9.2, 10.5),
        (70, 8.9, 9.9),
        (80, 8.6, 10.4),
    ],
)
def test_the_modelled_kernels_reach_half_and_a_tenth_where_stated(number: int, half: float, tenth: float) -> None:
    # the stated frequencies are rounded to 0.1 lp/cm, where the curves fall by up to 0.06
    assert kernel_mtf(number, half) == pytest.approx(0.5, abs=0.04)
    assert kernel_mtf(number, tenth) == pytest.approx(0.1, abs=0.04)


def test_sharper_kernels_pass_more_of_the_high_frequencies() -> None:
    passed = [float(kernel_mtf(number, 5.0)) for number in sorted(KERNELS)]
    assert passed[:7] == sorted(passed[:7])
    assert passed[0] < 0.1 < passed[3] < passed[6]


@pytest.mark.parametrize(("number", "noise"), [(10, 0.63), (20, 0.80), (40, 1.22), (50, 3.0), (70, 6.6), (80, 5.6)])
def test_the_noise_at_equal_dose_relative_to_b30f_is_the_published_one(number: int, noise: float) -> None:
    # NPS = a f M^2 of unit integral: noise SD goes as 1 / sqrt(a), a of the published fits
    frequency = np.linspace(0.0, 20.0, 2001)
    power, reference = (float((frequency**2 * kernel_mtf(n, frequency) ** 2).sum()) for n in (number, 30))
    assert np.sqrt(power / reference) == pytest.approx(noise, rel=0.02)


@pytest.mark.parametrize("number", [50, 70])
def test_the_gain_of_a_measured_kernel_is_the_mean_of_those_to_b10f_and_b30f(number: int) -> None:
    # from the third sample on; towards zero frequency the gain is flattened
    frequency = np.arange(0.35, 6.0, 0.1)
    measured = [measured_gain(f"B{number}f", kernel, frequency) for kernel in ("B10f", "B30f")]
    np.testing.assert_allclose(gain_to_b20f(number, frequency), np.mean(measured, axis=0), atol=1e-9)


def test_the_gain_from_b80f_is_that_of_b70f_times_the_published_ratio() -> None:
    frequency = np.arange(0.0, 7.0, 0.25)
    expected = gain_to_b20f(70, frequency) * kernel_mtf(70, frequency) / kernel_mtf(80, frequency)
    np.testing.assert_allclose(gain_to_b20f(80, frequency), expected, atol=1e-9)


@given(st.floats(20.0, 80.0), st.floats(0.0, 1.3))
def test_beyond_the_last_measured_sample_the_gain_falls_off(number: float, lift: float) -> None:
    gain = gain_to_b20f(number, np.array([7.0, 12.0, 20.0]), lift)
    assert gain[2] <= gain[1] + 1e-9
    assert gain[1] < 0.01
    if number >= 60.0:
        assert gain[0] < 0.03


def test_without_its_lift_the_sharp_kernels_gain_falls_from_zero_frequency_on() -> None:
    frequency = np.arange(0.0, 2.0, 0.0625)
    assert gain_to_b20f(70, frequency).max() == pytest.approx(1.04, abs=0.005)
    without = gain_to_b20f(70, frequency, lift=0.0)
    assert without.max() == pytest.approx(1.0, abs=1e-9)
    half = gain_to_b20f(70, frequency, lift=0.5)
    assert (half[1:] > without[1:]).all()
    # the published B20f over B70f, which knows no lift, within what a smooth curve of one parameter leaves
    published = kernel_mtf(20, frequency) / kernel_mtf(70, frequency)
    assert np.abs(without - published)[frequency < 1.1].max() < 0.02


def test_kernels_up_to_b30f_have_no_lift_and_b40f_half_of_it() -> None:
    frequency = np.arange(0.0, 3.0, 0.1)
    np.testing.assert_array_equal(gain_to_b20f(30, frequency), gain_to_b20f(30, frequency, lift=0.0))
    between, whole = (gain_to_b20f(n, 0.6) - gain_to_b20f(n, 0.6, lift=0.0) for n in (40, 50))
    assert between == pytest.approx(0.5 * whole, rel=0.05)


@pytest.mark.parametrize("number", [20, 30, 40, 45, 50, 60, 70])
def test_the_gain_does_not_jump_from_one_kernel_number_to_the_next(number: int) -> None:
    frequency = np.arange(0.0, 6.0, 0.1)
    below, above = (gain_to_b20f(number + change, frequency) for change in (-1e-4, 1e-4))
    assert np.abs(above - below).max() < 1e-3


def test_the_gain_is_flat_at_zero_frequency_so_that_the_filter_has_no_tails() -> None:
    step = 0.01
    slope = abs(float(gain_to_b20f(70, step)) - 1.0) / step
    assert slope < 0.01


def test_the_gains_are_those_that_were_measured() -> None:
    # B70f to B10f as read from the paired reconstructions: 0.78 at 1.6 lp/cm and so on, to two units of the last digit
    frequency = [0.6, 1.6, 2.6, 3.6, 4.6, 5.6]
    np.testing.assert_allclose(measured_gain("B70f", "B10f", frequency), [1.04, 0.78, 0.42, 0.18, 0.06, 0.01], atol=0.02)
    with pytest.raises(InputError, match="B70f to B10f"):
        measured_gain("B80f", "B20f", 1.0)


def test_the_gains_agree_with_the_stored_measurement() -> None:
    if not MEASURED.exists():
        pytest.skip("the measurement is not here")
    with MEASURED.open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    frequency = np.array([float(row["frequency_lp_per_cm"]) for row in rows])
    for source, target in MEASURED_GAINS:
        stored = np.array([float(row[f"{source}_to_{target}_gain"]) for row in rows])
        known = np.isfinite(stored)
        np.testing.assert_allclose(measured_gain(source, target, frequency[known]), np.maximum(stored[known], 0.0), atol=1e-4)


def sinusoid(frequency: float, angle: float, pixel_mm: tuple[float, float], side: int = 192) -> np.ndarray:
    """One slice (1, side, side): amplitude 100 HU about -700 HU at ``frequency`` lp/cm along ``angle``."""
    rows, columns = np.mgrid[:side, :side].astype(float)
    along = rows * pixel_mm[0] * np.sin(angle) + columns * pixel_mm[1] * np.cos(angle)
    return (-700.0 + 100.0 * np.sin(2.0 * np.pi * frequency * along / 10.0))[None].astype(np.float32)


@given(
    frequency=st.floats(0.5, 4.5),
    angle=st.floats(0.0, np.pi),
    row_mm=st.floats(0.5, 0.95),
    column_mm=st.floats(0.5, 0.95),
    number=st.sampled_from([30.0, 50.0, 63.5, 70.0, 80.0]),
)
def test_a_pattern_of_f_lp_per_cm_is_scaled_by_the_gain_at_f(
    frequency: float, angle: float, row_mm: float, column_mm: float, number: float
) -> None:
    before = sinusoid(frequency, angle, (row_mm, column_mm))
    after = apply_gain(before, (row_mm, column_mm), b20f_gain(number))
    inside = np.s_[0, 48:144, 48:144]  # away from the mirrored edges, where the pattern breaks
    wave = (before[inside].astype(float) + 700.0) / 100.0
    amplitude = float(((after[inside] + 700.0) * wave).sum() / (wave**2).sum())
    # a window of 96 pixels blurs the line by less than the gain's change over 0.1 lp/cm, some 0.02
    assert amplitude / 100.0 == pytest.approx(float(gain_to_b20f(number, frequency)), abs=0.02)


@given(st.floats(-1024.0, 3000.0), st.integers(9, 70), st.integers(9, 70))
def test_uniform_slices_of_any_size_stay_uniform(hu: float, rows: int, columns: int) -> None:
    before = np.full((1, rows, columns), hu, np.float32)
    # float32 transforms: 3000 HU times some units of 1e-7
    np.testing.assert_allclose(apply_gain(before, (0.7, 0.6), b20f_gain(70)), before, atol=0.01)


def test_the_mean_is_kept() -> None:
    # the point response of the measured low-frequency bump has tails of more than the 25 mm of air around the body
    volume = make_chest(floor=None, slices=8, side=192, scale=0.6).volume
    after = apply_gain(volume.hu, (0.7, 0.7), b20f_gain(70))
    assert after.mean(dtype=float) == pytest.approx(volume.hu.mean(dtype=float), abs=0.3)


def test_slices_do_not_influence_each_other() -> None:
    hu = make_chest(slices=8, side=64).volume.hu
    together = apply_gain(hu, (0.7, 0.7), b20f_gain(70))
    np.testing.assert_array_equal(apply_gain(hu[3:4], (0.7, 0.7), b20f_gain(70))[0], together[3])


def test_a_bright_border_does_not_reach_round_to_the_other_side() -> None:
    hu = np.full((1, 120, 120), -1000.0, np.float32)
    hu[:, :, -3:] = 1000.0
    after = apply_gain(hu, (0.6, 0.6), b20f_gain(70))
    np.testing.assert_allclose(after[:, :, :40], -1000.0, atol=1.0)


def test_an_array_that_is_no_stack_of_slices_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(5, 5\)"):
        apply_gain(np.zeros((5, 5), np.float32), (0.7, 0.7), b20f_gain(70))


class TestTransfer:
    """Which filter a volume gets, and the record that says why."""

    def test_follows_the_siemens_tag_if_there_is_one(self) -> None:
        found = find_transfer(make_chest(kernel="B60f", number=50.0).volume)
        assert found.origin == "tag"
        assert found.record["source_kernel_number"] == 60.0
        frequency = np.arange(0.0, 7.0, 0.25)
        np.testing.assert_allclose(found.gain(frequency), gain_to_b20f(60, frequency), atol=1e-12)

    def test_leaves_a_smooth_volume_alone_though_its_tag_still_names_a_sharp_kernel(self) -> None:
        found = find_transfer(make_chest(kernel="B80f", number=20.0).volume)
        assert found.origin == "smooth noise"
        assert found.is_identity

    @pytest.mark.parametrize("tag", [None, "L", "FC51"])
    def test_follows_the_lungs_if_the_tag_says_nothing(self, tag: str | None) -> None:
        found = find_transfer(make_chest(kernel=tag, number=70.0, noise_hu=90.0).volume)
        assert found.origin == "lung spectrum"
        gain = found.gain(np.array([0.0, 5.0]))
        assert gain[0] == pytest.approx(1.0, abs=1e-9)
        assert gain[1] < 0.5

    def test_follows_the_noise_if_there_is_no_lung(self) -> None:
        hu = 40.0 + coloured_noise(50.0, (8, 128, 128), 0.7, 40.0)
        hu[:, :40] = -1000.0
        volume = CTVolume(hu, Geometry((1.0, 0.7, 0.7)))
        found = find_transfer(volume)
        assert found.origin == "noise like a B kernel"
        assert found.record["source_kernel_number"] == pytest.approx(50.0, abs=6.0)

    def test_is_assumed_if_there_is_nothing_to_read(self) -> None:
        found = find_transfer(CTVolume(np.full((8, 32, 32), -900.0, np.float32), Geometry((1.0, 0.7, 0.7))))
        assert (found.origin, found.record["source_kernel_number"]) == ("assumed", 80.0)

    def test_leaves_a_synthetic_volume_alone_whatever_its_tag(self) -> None:
        found = find_transfer(replace(make_chest(kernel="B70f").volume, synthetic=True))
        assert found.origin == "synthetic"
        np.testing.assert_array_equal(found.gain(np.arange(0.0, 7.0, 0.5)), 1.0)

    @pytest.mark.parametrize("tag", ["B10f", "B20f"])
    def test_leaves_a_smooth_series_as_it_is(self, tag: str) -> None:
        volume = make_chest(kernel=tag, number=20.0, noise_hu=8.0).volume
        made = create_normalizer("linear").normalize(volume, ProgressTracker()).volume
        # float32 transforms of values up to 1024
        np.testing.assert_allclose(made.hu, volume.hu, atol=0.01)
