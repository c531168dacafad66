"""Compares the kernel number estimated from the noise with the true one, on simulated and real scans of known kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.io.dicom_pixels import read_pixels
from KernelNormalizationLib.core.io.dicom_series import acquisition_of, read_header
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.kernels.contradiction import kernel_contradiction
from KernelNormalizationLib.core.kernels.noise_sharpness import SMOOTH_NUMBER, Sharpness, estimate_sharpness
from KernelNormalizationLib.core.simulated_chest import make_reconstructions
from KernelNormalizationLib.core.volume import MINIMUM_SLICES, Acquisition, CTVolume, Geometry

from ..simulate.floors import to_integers
from ..simulate.noise import SLICE_CORRELATION, Dose, NoiseChain, attenuation, coarse_grid, reading_noise
from ..simulate.patient import REFERENCE_PEAK
from ..simulate.presets import DIVERSE_PIXELS, PAPER_QUANTA
from ..simulate.procedural import ProceduralChest
from ..simulate.sampling import Grid, SignalChain
from ..simulate.truncated import draw_truncation, truncated
from .published_kernels import PublishedKernel, published_kernels
from .real import CHEST, PAIR, PHANTOM, read_stack
from .stability import mirrored_order

# Slices a simulated patient, their thicknesses (mm), and the doses, from a third of the study's to three times it.
SLICES, THICKNESSES, DOSES = 5, (1.0, 3.0), (0.33, 3.0)
# Lies: smooth names on the noise of B50f and sharper kernels, and sharp names on the noise of kernels up to B32f.
SMOOTH_LIES, SHARP_LIES, SHARP_FROM = ("B20f", "B30f"), ("B70f", "B50f"), 50.0
REAL_B20F = "tcga-b20f"
# Quickly simulated chests: rows and columns, and range of the noise of B10f, HU.
QUICK_MATRIX, QUICK_NOISE_HU = 448, (4.0, 12.0)


@dataclass(frozen=True)
class Estimate:
    """The estimate for one scan.

    Attributes:
        scan: name of the scan.
        kernel: true kernel of a simulated scan, or the kernel in the header of a real one.
        true_number: number of a Siemens B kernel; ``None`` for another maker.
        pixel_mm, slice_mm: in-plane spacing and slice thickness, mm.
        sharpness: the measured noise; ``None`` if it could not be measured.
        doubted: whether the noise contradicts the true name (a false alarm).
        lies: for each false name of the other kind (sharp instead of smooth, or the reverse) whether the noise contradicts it.
    """

    scan: str
    kernel: str
    true_number: float | None
    pixel_mm: float
    slice_mm: float
    sharpness: Sharpness | None
    doubted: bool
    lies: Mapping[str, bool]

    @property
    def basis(self) -> str:
        """What the number was estimated from."""
        if self.sharpness is None:
            return "nothing"
        return f"spectrum in {self.sharpness.place}" if self.sharpness.spectrum is not None else "autocorrelation"

    @property
    def error(self) -> float | None:
        """Estimated minus true number; ``None`` if either is missing."""
        if self.sharpness is None or self.true_number is None:
            return None
        return self.sharpness.kernel_number - self.true_number


def estimate_of(scan: str, volume: CTVolume, true_number: float | None) -> Estimate:
    """Estimate the kernel of ``volume``, whose header is right, and test whether its noise contradicts a false name."""
    sharpness = estimate_sharpness(volume)
    facts = volume.acquisition
    lies = {}
    for name in false_names(true_number):
        told = replace(facts, kernel=name, manufacturer="SIEMENS")
        lies[name] = kernel_contradiction(replace(volume, acquisition=told), sharpness) is not None
    return Estimate(
        scan,
        str(facts.kernel),
        true_number,
        float(np.mean(volume.geometry.spacing[1:])),
        facts.slice_thickness_mm or volume.geometry.spacing[0],
        sharpness,
        kernel_contradiction(volume, sharpness) is not None,
        lies,
    )


def false_names(true_number: float | None) -> tuple[str, ...]:
    """The false names to try on the noise of a Siemens kernel; none for kernels in between and for other makers."""
    if true_number is None or SMOOTH_NUMBER < true_number < SHARP_FROM:
        return ()
    return SMOOTH_LIES if true_number >= SHARP_FROM else SHARP_LIES


def simulated_estimates(patients: int, chests: int, seed: int) -> Iterator[Estimate]:
    """Estimates for every published kernel on the same simulated scans.

    Args:
        patients: number of patients of ``training.simulate``: procedural chests with back-projected sinogram noise and random
            truncation; three minutes of processor time each.
        chests: number of chests of the product's quick simulation, whose noise has the published spectrum; a few seconds
            each.
        seed: seed of the simulation.
    """
    kernels = published_kernels()
    for index in range(patients + chests):
        rng = np.random.default_rng([seed, index])
        quick = index >= patients
        images, geometry = _coloured(rng, kernels) if quick else _reconstructed(rng, kernels)
        order = mirrored_order(images[0].shape[0])
        for kernel, hu in zip(kernels, images, strict=True):
            facts = Acquisition(kernel.tag, kernel.maker, slice_thickness_mm=geometry.spacing[0], modality="CT")
            yield estimate_of(
                f"{'quick' if quick else 'sinogram'} {index}", CTVolume(hu[order], geometry, facts), kernel.number
            )


def real_estimates(real: Path) -> Iterator[Estimate]:
    """Estimates for the real scans of a folder, compared with the kernel in their header; missing scans are left out."""
    for name, number in ((CHEST, 70.0), (f"{PAIR}/sharp_L", None), (f"{PAIR}/soft_B", None)):
        if (real / name).is_dir():
            yield estimate_of(Path(name).parts[0], read_volume(real / name), number)
    if (real / PHANTOM).is_dir():
        stack = read_stack(real / PHANTOM)
        for kernel, volume in (("FC51", stack.sharp), ("FC13", stack.smooth)):
            facts = replace(volume.acquisition, kernel=kernel, manufacturer="TOSHIBA")
            yield estimate_of(PHANTOM, replace(volume, acquisition=facts), None)
    for path in sorted((real / REAL_B20F).glob("*.dcm")):
        header = read_header(path)
        if header is not None:
            pixel = float(header.PixelSpacing[0])
            hu = np.repeat(read_pixels(path)[None], MINIMUM_SLICES, axis=0)
            yield estimate_of(
                path.stem, CTVolume(hu, Geometry((float(header.SliceThickness), pixel, pixel)), acquisition_of(header)), 20.0
            )


def _coloured(rng: np.random.Generator, kernels: Sequence[PublishedKernel]) -> tuple[list[FloatArray], Geometry]:
    """Images (k, j, i) of one quickly simulated chest, HU, one for each kernel."""
    thickness, pixel = float(rng.choice(THICKNESSES)), float(rng.uniform(*DIVERSE_PIXELS))
    spacing = (thickness, pixel, pixel)
    # the first kernel is B10f, whose noise is a tenth of B70f's
    noise_hu = float(np.exp(rng.uniform(*np.log(QUICK_NOISE_HU))))
    shape = (MINIMUM_SLICES, QUICK_MATRIX, QUICK_MATRIX)
    models = [kernel.mtf for kernel in kernels]
    return make_reconstructions(models, int(rng.integers(2**31)), shape, spacing, noise_hu), Geometry(spacing)


def _reconstructed(rng: np.random.Generator, kernels: Sequence[PublishedKernel]) -> tuple[list[FloatArray], Geometry]:
    """Images (k, j, i) of one patient, HU, one for each kernel, with the same object, dose, truncation and sinogram noise."""
    chest = ProceduralChest(rng)
    thickness, pixel = float(rng.choice(THICKNESSES)), float(rng.uniform(*DIVERSE_PIXELS))
    low, high = chest.height
    start = low + float(rng.uniform(0.1, 0.8)) * max(0.0, high - low - SLICES * thickness)
    grid = Grid(tuple(start + n * thickness for n in range(SLICES)), pixel, 512, (0.0, 0.0))
    dose = Dose(PAPER_QUANTA * float(np.exp(rng.uniform(*np.log(DOSES)))), float(rng.uniform(0.35, 0.9)), thickness)
    spread = [reading_noise(attenuation(plane), dose, REFERENCE_PEAK) for plane in chest.coarse(coarse_grid(grid.z))]
    slab = chest.fine(grid.fine())
    signal = SignalChain(grid, tuple(kernel.mtf for kernel in kernels))
    objects = [np.stack(planes) for planes in zip(*(signal(plane) for plane in slab.hu), strict=True)]
    white: FloatArray | None = None
    noises: list[FloatArray] = []
    for one, other in zip(kernels[::2], [*kernels[1::2], kernels[-1]][: len(kernels[::2])], strict=True):
        chain = NoiseChain(grid, one.mtf, other.mtf)
        if white is None:
            white = chain.draw_white(SLICES, SLICE_CORRELATION if thickness <= 1.0 else 0.0, rng)
        pairs = [chain.reconstruct(white[k], spread[k]) for k in range(SLICES)]
        noises += [np.stack(images) for images in zip(*pairs, strict=True)]
    truncation, departures = draw_truncation(rng), int(rng.integers(2**31))
    images = []
    for clean, noise in zip(objects, noises, strict=False):
        stored = truncated(clean + noise, noise, truncation, np.random.default_rng(departures))
        images.append(to_integers(np.rint(stored)).astype(np.float32))
    return images, Geometry((thickness, pixel, pixel))
