"""The simulated scanner does what its kernels, doses and floors say."""

from __future__ import annotations

import numpy as np
import pytest

from KernelNormalizationLib.core.kernels.mtf import KERNELS, gain_to_b20f
from training.simulate.floors import outside_circle
from training.simulate.kernel_family import (
    LIFTS,
    SMOOTH_KERNEL,
    SPREAD,
    draw_kernel,
    draw_outside_kernel,
    nominal_kernel,
    simulated_gain,
)
from training.simulate.noise import (
    COARSE_MATRIX,
    COARSE_VIEWS,
    SLICE_CORRELATION,
    WATER_ATTENUATION,
    Dose,
    NoiseChain,
    attenuation,
    coarse_grid,
    reading_noise,
)
from training.simulate.projector import forward_project
from training.simulate.sampling import Grid, SignalChain, detector_blur, radial_frequency, to_pixels

GRID = Grid((0.0,), 0.7, 128)
FLAT_SD = np.full((COARSE_VIEWS, COARSE_MATRIX), 0.02, np.float32)


def disc(grid: Grid, radius: float, inside: float, outside: float = -1000.0) -> np.ndarray:
    y, x = grid.axes()
    part = np.clip(0.5 + (radius - np.hypot(y[:, None], x[None, :])) / grid.pixel, 0.0, 1.0)
    return (outside + (inside - outside) * part).astype(np.float32)


def noise_pair(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chain = NoiseChain(GRID, nominal_kernel(number).mtf, SMOOTH_KERNEL.mtf)
    white = chain.draw_white(1, 0.0, np.random.default_rng(seed))
    return chain.reconstruct(white[0], FLAT_SD)


def neighbour_correlation(image: np.ndarray) -> float:
    centred = image - image.mean()
    pairs = (centred[1:] * centred[:-1]).mean() + (centred[:, 1:] * centred[:, :-1]).mean()
    return float(0.5 * pairs / (centred**2).mean())


@pytest.mark.parametrize("number", [50, 70])
def test_a_wire_shows_the_kernels_transfer(number: int) -> None:
    kernel = nominal_kernel(number)
    # Pixels fine enough that nothing aliases; the wire lies on a pixel centre.
    grid = Grid((0.0,), 0.35, 128)
    fine = np.full((grid.fine().matrix, grid.fine().matrix), -1000.0, np.float32)
    middle = grid.fine().matrix // 2
    fine[middle, middle] += 1000.0
    sharp, smooth = SignalChain(grid, (kernel.mtf, SMOOTH_KERNEL.mtf))(fine)
    f = radial_frequency(grid.matrix, grid.pixel)
    for image, mtf in ((sharp, kernel.mtf), (smooth, SMOOTH_KERNEL.mtf)):
        measured = np.abs(np.fft.rfft2(image + 1000.0))
        measured /= measured[0, 0]
        below = f < 10.0
        assert np.abs(measured - mtf(f) * detector_blur(f))[below].max() < 0.02


def test_frequencies_above_the_pixels_limit_alias_as_in_a_reconstruction() -> None:
    kernel = nominal_kernel(80)
    fine_grid = GRID.fine()
    y, _ = fine_grid.axes()
    frequency = 9.0  # lp/cm; 0.7 mm pixels end at 7.1
    wave = np.repeat((100.0 * np.cos(2 * np.pi * frequency / 10.0 * y))[:, None], fine_grid.matrix, axis=1)
    sharp, smooth = SignalChain(GRID, (kernel.mtf, SMOOTH_KERNEL.mtf))(wave.astype(np.float32))
    inside = slice(30, 98)
    passed = 100.0 * float(kernel.mtf(frequency) * detector_blur(frequency))
    assert sharp[inside].std() == pytest.approx(passed / np.sqrt(2.0), rel=0.08)
    assert smooth[inside].std() < 1.0


def test_a_uniform_disc_keeps_its_value() -> None:
    fine = disc(GRID.fine(), 30.0, -850.0)
    for image in SignalChain(GRID, (nominal_kernel(80).mtf, SMOOTH_KERNEL.mtf))(fine):
        assert image[54:74, 54:74].mean() == pytest.approx(-850.0, abs=0.5)


def test_the_line_integral_through_water_is_its_thickness() -> None:
    image = (disc(coarse_grid((0.0,)), 100.0, 1.0, 0.0) * WATER_ATTENUATION).astype(np.float32)
    angles = np.array([0.0, 0.6, np.pi / 2], np.float32)
    projections = forward_project(image, 2.0, angles, np.array([0.0, 60.0], np.float32))
    assert projections[:, 0] == pytest.approx(200.0 * WATER_ATTENUATION, rel=0.01)
    assert projections[:, 1] == pytest.approx(160.0 * WATER_ATTENUATION, rel=0.01)


def test_the_noise_ratio_of_the_kernels_is_the_measured_one() -> None:
    """Real pairs: B70f against B30f 5.3 to 5.9, B50f 2.5, B10f 0.65; nobody measured B80f / B20f, published spectra say 7.0."""
    sd = {number: float(noise_pair(number)[0].std()) for number in (10, 20, 30, 50, 70, 80)}
    assert sd[10] / sd[30] == pytest.approx(0.65, abs=0.05)
    assert sd[50] / sd[30] == pytest.approx(2.5, abs=0.25)
    assert sd[70] / sd[30] == pytest.approx(5.6, abs=0.6)
    assert 5.5 < sd[80] / sd[20] < 7.0


def test_the_noise_colour_of_the_kernels_is_that_of_real_series() -> None:
    """Lag-1 autocorrelation: real B30f 0.65, B50f 0.24, B70f 0.02 and below."""
    assert neighbour_correlation(noise_pair(30)[0]) > 0.45
    assert 0.05 < neighbour_correlation(noise_pair(50)[0]) < 0.35
    assert neighbour_correlation(noise_pair(70)[0]) < 0.05


def test_sharp_and_smooth_noise_are_one_noise() -> None:
    """Coherence 0.97 to 1.00 where the smooth kernel passes anything, as between real reconstructions."""
    sharp, smooth = noise_pair(50)
    window = np.hanning(128)[:, None] * np.hanning(128)[None, :]
    a, b = np.fft.rfft2(sharp * window), np.fft.rfft2(smooth * window)
    f = radial_frequency(128, 0.7)
    for low in (1.0, 2.0, 3.0, 4.0):
        ring = (f > low) & (f < low + 0.3)
        cross, power = (a * b.conj())[ring].sum(), (np.abs(a[ring]) ** 2).sum()
        assert abs(cross) / np.sqrt(power * (np.abs(b[ring]) ** 2).sum()) > 0.97
        expected = float(SMOOTH_KERNEL.mtf(low + 0.15) / nominal_kernel(50).mtf(low + 0.15))
        assert cross.real / power == pytest.approx(expected, abs=0.04)


def test_neighbouring_slices_share_noise() -> None:
    chain = NoiseChain(GRID, nominal_kernel(80).mtf, SMOOTH_KERNEL.mtf)
    white = chain.draw_white(3, SLICE_CORRELATION, np.random.default_rng(1))
    assert white.std() == pytest.approx(1.0, abs=0.01)
    assert (white[0] * white[1]).mean() == pytest.approx(SLICE_CORRELATION, abs=0.01)
    assert (white[0] * white[2]).mean() == pytest.approx(0.0, abs=0.01)


def test_noise_follows_dose_size_and_thickness() -> None:
    small, large = (attenuation(disc(coarse_grid((0.0,)), r, 0.0)) for r in (110.0, 150.0))
    peak = float(small.max())
    base = reading_noise(small, Dose(1e5, 0.0), peak)
    assert reading_noise(large, Dose(1e5, 0.0), peak).max() > 1.5 * base.max()
    assert reading_noise(large, Dose(1e5, 0.9), peak).max() < reading_noise(large, Dose(1e5, 0.0), peak).max()
    assert reading_noise(small, Dose(4e5, 0.0), peak).max() < 0.55 * base.max()
    assert reading_noise(small, Dose(1e5, 0.0, 4.0), peak) == pytest.approx(reading_noise(small, Dose(4e5, 0.0), peak))


def test_shoulders_make_streaks_along_the_long_path() -> None:
    grid = coarse_grid((0.0,))
    y, x = (a.astype(np.float32) for a in grid.axes())
    wide = np.where((y[:, None] / 90.0) ** 2 + (x[None, :] / 220.0) ** 2 < 1.0, 0.0, -1000.0).astype(np.float32)
    chain = NoiseChain(GRID, nominal_kernel(80).mtf, SMOOTH_KERNEL.mtf)
    spread = reading_noise(attenuation(wide), Dose(1e5, 0.3), 5.2)
    sharp, _ = chain.reconstruct(chain.draw_white(1, 0.0, np.random.default_rng(2))[0], spread)
    along_x = (sharp[:, 2:] - sharp[:, :-2]).std()
    along_y = (sharp[2:] - sharp[:-2]).std()
    assert along_y > 1.2 * along_x


def test_padding_lies_outside_the_inscribed_circle() -> None:
    outside = outside_circle(64)
    assert outside[0, 0]
    assert not outside[32, 0]
    assert outside.mean() == pytest.approx(1.0 - np.pi / 4.0, abs=0.02)


def relative_changes(kernel_number: int, drawn: object) -> np.ndarray:
    """Parameters f50, p, b, f1 of a drawn kernel over the published ones, less 1, in units of the training spread."""
    published = KERNELS[kernel_number]
    changes = [getattr(drawn, name) / getattr(published, name) - 1.0 for name in ("f50", "p", "b", "f1")]
    return np.abs(np.array(changes) / SPREAD)


def test_every_drawn_kernel_is_sharper_than_b20f_and_near_the_published_one() -> None:
    rng = np.random.default_rng(0)
    f = np.linspace(2.0, 7.0, 30)
    names, lifts = set(), set()
    for _ in range(60):
        kernel = draw_kernel(rng)
        names.add(kernel.name)
        lifts.add(kernel.lift)
        assert (kernel.mtf(f) > SMOOTH_KERNEL.mtf(f)).all()
        assert float(kernel.mtf(0.0)) == 1.0
        assert relative_changes(kernel.model.number, kernel.model).max() <= 1.0 + 1e-9
    assert names == {"B50f-like", "B60f-like", "B70f-like", "B80f-like"}
    assert lifts == set(LIFTS)


def test_kernels_outside_the_training_range_differ_in_every_parameter() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        kernel = draw_outside_kernel(rng)
        assert kernel.model.number in (70, 80)
        assert relative_changes(kernel.model.number, kernel.model).min() > 1.1


@pytest.mark.parametrize("number", [50, 60, 70, 80])
@pytest.mark.parametrize("lift", [1.0, 0.5, 0.0])
def test_the_nominal_kernels_gain_to_b20f_is_the_products(number: int, lift: float) -> None:
    frequency = np.arange(0.0, 7.0, 0.25)
    exact = simulated_gain(nominal_kernel(number, lift).as_meta())(frequency)
    assert np.abs(exact - gain_to_b20f(number, frequency, lift)).max() < 1e-9


def test_the_lift_raises_the_smooth_kernel_against_the_sharp_one() -> None:
    with_lift, without = nominal_kernel(70), nominal_kernel(70, 0.0)
    assert float(without.mtf(0.95) / with_lift.mtf(0.95)) == pytest.approx(1.116, abs=1e-3)


def test_pixels_are_read_at_their_own_centres() -> None:
    fine = GRID.fine()
    y, x = fine.axes()
    plane = y[:, None] + 3.0 * x[None, :]
    wanted_y, wanted_x = GRID.axes()
    assert to_pixels(plane) == pytest.approx(wanted_y[:, None] + 3.0 * wanted_x[None, :], abs=1e-3)
