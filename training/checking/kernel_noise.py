"""Checks of kernels estimated from noise: scans with and without their header, and gains of real pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.filters import smoothed
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.kernels.mtf import KERNELS, TARGET_NUMBER
from KernelNormalizationLib.core.kernels.noise_fit import fit_free
from KernelNormalizationLib.core.kernels.noise_sharpness import homogeneous_tissue
from KernelNormalizationLib.core.kernels.noise_spectrum import (
    NoiseSpectrum,
    expected_rings,
    measure_noise_spectrum,
    ring_frequencies,
)
from KernelNormalizationLib.core.volume import Acquisition, CTVolume

from ..evaluation.cases import find_cases, load_case
from .outcomes import Findings, Methods, Outcome, Skipped, normalized
from .real import PHANTOM, flat_materials, read_stack
from .stability import Scan

TAG_CHECK, GAIN_CHECK = "tag and no tag", "gain from two noise spectra"
TAG_EI_POINTS, TAG_L1_HU, GAIN_LIMIT = 0.3, 2.0, 0.1
HEAD = "philips-head-ub-ya"
SMOOTH_SLICES = "tcga-b20f"
# Side of the windows in which the gain of a real pair is measured, pixels, and frequencies at which it is compared, lp/cm.
PAIR_WINDOW = 128
COMPARED_LP_PER_CM = np.arange(1.5, 6.0, 1.0)
TAIL_LP_PER_CM = (2.5, 5.5)
FLAT_HU, SOLID_HU = 12.0, -300.0

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseCurve:
    """A noise spectrum for the plot.

    Attributes:
        label: text in the legend.
        frequency: frequency of each ring, lp/cm.
        power: noise power in each ring, arbitrary units.
    """

    label: str
    frequency: Curve
    power: Curve


def tag_and_no_tag(methods: Methods, scans: Sequence[Scan]) -> Findings:
    """A scan without its header gives nearly the same image and EI as with its header."""
    for scan in scans:
        bare = replace(scan.volume, acquisition=Acquisition())
        for label, normalizer in methods.items():
            tagged, untagged = normalized(normalizer, scan.volume), normalized(normalizer, bare)
            indices = [100.0 * emphysema_mask(made.hu, scan.lungs).sum() / scan.lungs.sum() for made in (tagged, untagged)]
            points = float(indices[1] - indices[0])
            yield Outcome(TAG_CHECK, f"{scan.name}, EI without less EI with", label, points, "points", TAG_EI_POINTS, "within")
            apart = float(np.abs(untagged.hu - tagged.hu)[scan.lungs].mean(dtype=np.float64))
            yield Outcome(TAG_CHECK, f"{scan.name}, L1 in the lungs", label, apart, "HU", TAG_L1_HU)


def gains_of_real_pairs(real: Path) -> Findings:
    """Kernel pairs of phantoms: the gain from their two noise spectra compared with the gain measured between the images."""
    if (real / HEAD).is_dir():
        sharp, smooth = (read_volume(real / HEAD / series) for series in ("YA_BONE1mm", "UB_STD1mm"))
        flat = _flat(smooth.filled())
        first = np.arange(len(flat) - 1)
        yield from _gain_outcome("Philips head YA to UB", sharp, smooth, flat, (first, first + 1))
    else:
        yield Skipped(GAIN_CHECK, f"{real / HEAD} is not there")
    if (real / PHANTOM).is_dir():
        stack = read_stack(real / PHANTOM)
        flat = flat_materials(stack.smooth)["soft tissue"]
        alone = np.arange(stack.slices)  # of four phantoms: there is no neighbour
        yield from _gain_outcome("Toshiba phantom FC51 to FC13", stack.sharp, stack.smooth, flat, (alone, alone))
    else:
        yield Skipped(GAIN_CHECK, f"{real / PHANTOM} is not there")


def gain_from_noise(sharp: NoiseSpectrum, smooth: NoiseSpectrum, frequency: Curve) -> Curve:
    """Gain from the noise of a pair at ``frequency`` (lp/cm): ratio of the transfers fitted to the two spectra."""
    return np.asarray(fit_free(smooth).model.mtf(frequency) / fit_free(sharp).model.mtf(frequency), np.float64)


def gain_of_pair(sharp: FloatArray, smooth: FloatArray, pixel_mm: float, frequency: Curve) -> Curve:
    """Gain from ``sharp`` to ``smooth`` (k, j, i), HU, of the same acquisition, at ``frequency`` (lp/cm).

    It is the real part of the cross-spectrum divided by the power of the sharp image, in windows that are at most half air.
    """
    taper = np.outer(np.hanning(PAIR_WINDOW), np.hanning(PAIR_WINDOW))
    cross, power = np.zeros((PAIR_WINDOW, PAIR_WINDOW)), np.zeros((PAIR_WINDOW, PAIR_WINDOW))
    for before, after in zip(sharp, smooth, strict=True):
        for top in range(0, before.shape[0] - PAIR_WINDOW + 1, PAIR_WINDOW // 2):
            for left in range(0, before.shape[1] - PAIR_WINDOW + 1, PAIR_WINDOW // 2):
                place = (slice(top, top + PAIR_WINDOW), slice(left, left + PAIR_WINDOW))
                if (after[place] < SOLID_HU).mean() > 0.5:
                    continue
                a, b = (np.fft.fft2((image[place] - image[place].mean()) * taper) for image in (before, after))
                cross += (b * a.conj()).real
                power += np.abs(a) ** 2
    axis = np.fft.fftfreq(PAIR_WINDOW, pixel_mm / 10.0)
    radius = np.hypot(axis[:, None], axis[None, :])
    rings = [(radius > f - 0.25) & (radius <= f + 0.25) for f in frequency]
    return np.array([cross[ring].sum() / power[ring].sum() for ring in rings])


def smooth_spectra(real: Path, pairs: Path | None, limit: int) -> list[NoiseCurve]:
    """Noise spectra of B20f: published, of simulated patients, and of real single slices, scaled to equal power in the tail.

    Args:
        real: folder of the real scans.
        pairs: folder of simulated pairs, or ``None``.
        limit: largest number of simulated pairs.
    """
    curves = []
    for path in sorted((real / SMOOTH_SLICES).glob("*.dcm")):
        image = sitk.ReadImage(str(path))
        hu = sitk.GetArrayFromImage(image).astype(np.float32)
        curves += _curve("real slice", hu, hu, float(image.GetSpacing()[0]))
    for path in find_cases(pairs)[:limit] if pairs is not None else []:
        case = load_case(path)
        hu = case.smooth.filled()[: case.slices]
        curves += _curve("simulated", hu[:-1], hu[1:], float(case.smooth.geometry.spacing[1]))
    if not curves:
        raise InputError(f"No slice in {real / SMOOTH_SLICES} and no pair shows enough flat tissue; give --real or --pairs.")
    pixel = 0.7
    return [_scaled("published", expected_rings(KERNELS[TARGET_NUMBER].mtf, pixel), pixel), *curves]


def _curve(label: str, first: FloatArray, second: FloatArray, pixel_mm: float) -> list[NoiseCurve]:
    spectrum = measure_noise_spectrum(first, second, homogeneous_tissue(first) & homogeneous_tissue(second), pixel_mm)
    return [] if spectrum is None else [_scaled(label, spectrum.power, pixel_mm)]


def _scaled(label: str, power: Curve, pixel_mm: float) -> NoiseCurve:
    """Spectrum scaled to the published power in the tail, where there is no anatomy left; the published peak is 1.

    Anatomy at lower frequency cannot be removed from single slices by subtraction.
    """
    frequency = ring_frequencies(pixel_mm)
    published = expected_rings(KERNELS[TARGET_NUMBER].mtf, pixel_mm)
    tail = (frequency > TAIL_LP_PER_CM[0]) & (frequency < TAIL_LP_PER_CM[1])
    return NoiseCurve(label, frequency, power * published[tail].sum() / power[tail].sum() / published.max())


def _gain_outcome(
    name: str, sharp: CTVolume, smooth: CTVolume, flat: BoolArray, pairs: tuple[NDArray[np.int_], NDArray[np.int_]]
) -> Findings:
    pixel = float(sharp.geometry.spacing[1])
    one, other = pairs
    where = flat[one] & flat[other]
    spectra = [measure_noise_spectrum(v.filled()[one], v.filled()[other], where, pixel) for v in (sharp, smooth)]
    if spectra[0] is None or spectra[1] is None:
        yield Skipped(GAIN_CHECK, f"{name} shows too few flat patches")
        return
    found = gain_from_noise(spectra[0], spectra[1], COMPARED_LP_PER_CM)
    true = gain_of_pair(sharp.filled()[np.unique(one)], smooth.filled()[np.unique(one)], pixel, COMPARED_LP_PER_CM)
    for frequency, measured, read in zip(COMPARED_LP_PER_CM, true, found, strict=True):
        case = f"{name}, {frequency:g} lp/cm (measured {measured:.3f}, from noise {read:.3f})"
        yield Outcome(GAIN_CHECK, case, "linear", float(read - measured), "", GAIN_LIMIT, "within")


def _flat(hu: FloatArray) -> BoolArray:
    """Flat, solid material of any HU in (k, j, i)."""
    narrow, wide = smoothed(hu, 3.0), smoothed(hu, 6.0)
    flat: BoolArray = ndimage.binary_opening((narrow > SOLID_HU) & (np.abs(narrow - wide) < FLAT_HU), np.ones((1, 3, 3)))
    return flat
