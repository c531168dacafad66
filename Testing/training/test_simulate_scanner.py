"""The simulated scanner does what its kernels, doses and floors say."""

from __future__ import annotations

import numpy as np
import pytest

from training.simulate.floors import Floor, outside_circle, to_integers
from training.simulate.kernel_family import LIFT_RANGE, SMOOTH_KERNEL, draw_kernel, nominal_kernel
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
from training.simulate.sampling import Grid, SignalChain, radial_frequency, to_pixels

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
    kernel = nominal_kernel(number, 0.05)
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
        assert np.abs(measured - mtf(f))[below].max() < 0.02


def test_frequencies_above_the_pixels_limit_alias_as_in_a_reconstruction() -> None:
    kernel = nominal_kernel(80)
    fine_grid = GRID.fine()
    y, _ = fine_grid.axes()
    frequency = 9.0  # lp/cm; 0.7 mm pixels end at 7.1
    wave = np.repeat((100.0 * np.cos(2 * np.pi * frequency / 10.0 * y))[:, None], fine_grid.matrix, axis=1)
    sharp, smooth = SignalChain(GRID, (kernel.mtf, SMOOTH_KERNEL.mtf))(wave.astype(np.float32))
    inside = slice(30, 98)
    assert sharp[inside].std() == pytest.approx(100.0 / np.sqrt(2.0) * float(kernel.mtf(frequency)), rel=0.08)
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
    """Real series: B70f against B30f 5.3 to 5.8, B50f 2.5, B10f 0.65."""
    reference = noise_pair(30)[0].std()
    assert noise_pair(10)[0].std() / reference == pytest.approx(0.65, abs=0.05)
    assert noise_pair(50)[0].std() / reference == pytest.approx(2.5, abs=0.25)
    assert noise_pair(70)[0].std() / reference == pytest.approx(5.6, abs=0.6)


def test_the_noise_colour_of_the_kernels_is_the_measured_one() -> None:
    """Lag-1 autocorrelation: real B30f 0.65 and B50f 0.24, simulated B80f about -0.14."""
    assert neighbour_correlation(noise_pair(30)[0]) > 0.45
    assert 0.05 < neighbour_correlation(noise_pair(50)[0]) < 0.35
    assert neighbour_correlation(noise_pair(80)[0]) < -0.05


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


def test_a_clipped_floor_cuts() -> None:
    hu = np.array([-1500.0, -1024.4, -950.0, 5000.0], np.float32)
    assert Floor("clipped", -1024.0).apply(hu).tolist() == [-1024.0, -1024.0, -950.0, 3071.0]
    assert Floor("clipped", -1000.0).apply(hu)[0] == -1000.0


def test_a_folded_floor_mirrors_and_has_a_dead_zone() -> None:
    hu = np.array([-1100.0, -1026.0, -1020.0, -1000.0], np.float32)
    assert Floor("folded", -1024.0, 6.0).apply(hu).tolist() == [-948.0, -1024.0, -1024.0, -1000.0]


def test_folded_air_looks_like_the_series_it_was_measured_on() -> None:
    """Outside air of that series: mean -971, SD 45, about 7 % on the floor."""
    air = np.random.default_rng(0).normal(-1000.0, 65.0, 200_000).astype(np.float32)
    folded = to_integers(Floor("folded", -1024.0, 6.0).apply(air))
    assert folded.mean() == pytest.approx(-971.0, abs=6.0)
    assert folded.std() == pytest.approx(45.0, abs=6.0)
    assert 0.05 < np.mean(folded == -1024) < 0.09


def test_an_open_floor_keeps_everything() -> None:
    assert Floor("none").apply(np.array([-1900.0], np.float32))[0] == -1900.0


def test_padding_lies_outside_the_inscribed_circle() -> None:
    outside = outside_circle(64)
    assert outside[0, 0]
    assert not outside[32, 0]
    assert outside.mean() == pytest.approx(1.0 - np.pi / 4.0, abs=0.02)


def test_every_drawn_kernel_is_sharper_than_b20f_with_lift_in_range() -> None:
    rng = np.random.default_rng(0)
    f = np.linspace(2.0, 7.0, 30)
    names = set()
    for _ in range(60):
        kernel = draw_kernel(rng)
        names.add(kernel.name)
        assert LIFT_RANGE[0] <= kernel.lift <= LIFT_RANGE[1]
        assert (kernel.mtf(f) > SMOOTH_KERNEL.mtf(f)).all()
        assert float(kernel.mtf(0.0)) == 1.0
    assert names == {"B50f-like", "B60f-like", "B70f-like", "B80f-like"}


def test_the_lift_raises_the_smooth_kernel_against_the_sharp_one() -> None:
    with_lift, without = nominal_kernel(70, 0.09), nominal_kernel(70, 0.0)
    assert float(without.mtf(0.95) / with_lift.mtf(0.95)) == pytest.approx(1.09, abs=1e-6)


def test_pixels_are_read_at_their_own_centres() -> None:
    fine = GRID.fine()
    y, x = fine.axes()
    plane = y[:, None] + 3.0 * x[None, :]
    wanted_y, wanted_x = GRID.axes()
    assert to_pixels(plane) == pytest.approx(wanted_y[:, None] + 3.0 * wanted_x[None, :], abs=1e-3)
