"""Phantoms of known densities, imaged by the simulated scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KernelNormalizationLib.core.arrays import AIR_HU, FloatArray
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.volume import Acquisition, CTVolume, Geometry

from ..simulate.floors import to_integers
from ..simulate.kernel_family import SMOOTH_KERNEL, SharpKernel, nominal_kernel
from ..simulate.noise import Dose, NoiseChain, attenuation, coarse_grid, reading_noise
from ..simulate.patient import REFERENCE_PEAK
from ..simulate.presets import PAPER_LIFT, PAPER_MODULATION, PAPER_QUANTA
from ..simulate.sampling import Grid, SignalChain
from ..simulate.truncated import truncated

WATER_HU, LUNG_HU, NODULE_HU = 0.0, -860.0, 40.0
NODULE_MM = 5.0
# Lines of 1 mm with gaps of 1 mm. Only their fundamental wave is drawn, because no kernel passes the harmonics (15 lp/cm and
# above).
LINE_PAIRS_PER_CM = 5.0
LINE_AMPLITUDE_HU = 400.0
SLICE_MM = 1.0


@dataclass(frozen=True)
class Part:
    """A cylinder along z.

    Attributes:
        centre: (y, x) of its axis, mm.
        radius: radius, mm.
        hu: mean density, HU.
        amplitude: amplitude of line pairs along x, HU; 0 for none.
    """

    centre: tuple[float, float]
    radius: float
    hu: float
    amplitude: float = 0.0

    def distance(self, grid: Grid) -> FloatArray:
        """Distance (rows, columns) of every pixel to the axis, mm."""
        y, x = grid.axes()
        result: FloatArray = np.hypot(y[:, None] - self.centre[0], x[None, :] - self.centre[1])
        return result

    def values(self, grid: Grid) -> FloatArray:
        """Density (1, columns), HU."""
        _, x = grid.axes()
        # The coarse grid of the forward projection cannot represent the lines; their mean attenuates equally.
        amplitude = self.amplitude if 2.0 * grid.pixel < 10.0 / LINE_PAIRS_PER_CM else 0.0
        phase = 2.0 * np.pi * LINE_PAIRS_PER_CM / 10.0 * (x - self.centre[1])
        return np.asarray(self.hu + amplitude * np.cos(phase), np.float32)[None, :]


@dataclass(frozen=True)
class Bench:
    """Sizes of the phantoms and of the reconstruction; the defaults are those of an adult.

    Attributes:
        water_mm: radius of the water cylinder (the usual water phantom has a diameter of 20 cm).
        body_mm: radius of the body of water around the lung.
        lung_mm: radius of the cylinder of lung density inside it.
        pixel: pixel size, mm.
        matrix: number of rows and of columns; the body must fit in.
        slices: slices per volume, each with independent noise.
    """

    water_mm: float = 100.0
    body_mm: float = 150.0
    lung_mm: float = 100.0
    pixel: float = 0.7
    matrix: int = 448
    slices: int = 8

    @property
    def grid(self) -> Grid:
        """The image grid."""
        return Grid(tuple(SLICE_MM * n for n in range(self.slices)), self.pixel, self.matrix)

    @property
    def water(self) -> tuple[Part, ...]:
        """A uniform water cylinder in air."""
        return (Part((0.0, 0.0), self.water_mm, WATER_HU),)

    @property
    def lung(self) -> tuple[Part, ...]:
        """A cylinder of lung density in a body of water, so that it has the noise of a chest and is recognised as a lung."""
        return (Part((0.0, 0.0), self.body_mm, WATER_HU), Part((0.0, 0.0), self.lung_mm, LUNG_HU))

    @property
    def nodule(self) -> Part:
        """A solid nodule of 5 mm in the lung."""
        return Part((0.5 * self.lung_mm, 0.0), 0.5 * NODULE_MM, NODULE_HU)

    @property
    def lung_lines(self) -> Part:
        """Line pairs in the lung, whose lowest value is the density of lung."""
        return Part((-0.5 * self.lung_mm, 0.0), 0.25 * self.lung_mm, LUNG_HU + LINE_AMPLITUDE_HU, LINE_AMPLITUDE_HU)

    @property
    def tissue_lines(self) -> Part:
        """Line pairs in the water, whose lowest value is the density of water."""
        middle = 0.5 * (self.body_mm + self.lung_mm)
        radius = 0.35 * (self.body_mm - self.lung_mm)
        return Part((0.0, middle), radius, WATER_HU + LINE_AMPLITUDE_HU, LINE_AMPLITUDE_HU)


def draw(parts: tuple[Part, ...], grid: Grid) -> FloatArray:
    """Draw one slice (rows, columns), HU; later parts cover earlier ones, and borders have partial volume."""
    hu = np.full((grid.matrix, grid.matrix), AIR_HU, np.float32)
    for part in parts:
        weight = np.clip(0.5 + (part.radius - part.distance(grid)) / grid.pixel, 0.0, 1.0).astype(np.float32)
        hu += weight * (part.values(grid) - hu)
    return hu


def kernel_of(number: int) -> SharpKernel:
    """The nominal sharp kernel, with the low-frequency excess of the preset "paper"."""
    return nominal_kernel(number, PAPER_LIFT)


def noise_free(parts: tuple[Part, ...], bench: Bench, number: int) -> tuple[FloatArray, FloatArray]:
    """One slice (rows, columns) with the sharp kernel and with B20f, HU, without noise and truncation."""
    sharp, smooth = SignalChain(bench.grid, (kernel_of(number).mtf, SMOOTH_KERNEL.mtf))(draw(parts, bench.grid.fine()))
    return sharp, smooth


def sharp_noise(parts: tuple[Part, ...], bench: Bench, number: int, dose: float, seed: int = 0) -> FloatArray:
    """Noise (slices, rows, columns) of the sharp kernel, HU, independent in every slice.

    Args:
        parts: the object; its attenuation determines the noise.
        bench: sizes of the phantoms.
        number: number of the sharp kernel.
        dose: dose relative to that of the study's mean patient; tube-current modulation is the same as there.
        seed: seed of the noise.
    """
    grid = bench.grid
    chain = NoiseChain(grid, kernel_of(number).mtf, SMOOTH_KERNEL.mtf)
    exposure = Dose(PAPER_QUANTA * dose, PAPER_MODULATION)
    spread = reading_noise(attenuation(draw(parts, coarse_grid(grid.z))), exposure, REFERENCE_PEAK)
    white = chain.draw_white(bench.slices, 0.0, np.random.default_rng(seed))
    return np.stack([chain.reconstruct(one, spread)[0] for one in white])


def as_scan(hu: FloatArray, bench: Bench, number: int, truncation: Truncation, noise: FloatArray | None = None) -> CTVolume:
    """A volume as the scanner would store it: truncated, rounded to integers, with a Siemens kernel in the header.

    Args:
        hu: (slices, rows, columns), or one slice (rows, columns) for all, HU, without noise.
        bench: sizes of the phantoms.
        number: number of the kernel in the header.
        truncation: how the scanner truncates.
        noise: (slices, rows, columns), HU, added to ``hu``.
    """
    stack = np.array(np.broadcast_to(hu, (bench.slices, bench.matrix, bench.matrix)), np.float32)
    noise = np.zeros_like(stack) if noise is None else noise
    stored = to_integers(truncated(stack + noise, noise, truncation, np.random.default_rng(number))).astype(np.float32)
    facts = Acquisition(f"B{number}f", "SIEMENS", slice_thickness_mm=SLICE_MM, modality="CT")
    return CTVolume(stored, Geometry((SLICE_MM, bench.pixel, bench.pixel)), facts, name=f"phantom B{number}f")
