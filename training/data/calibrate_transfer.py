"""Measure the transfer between a centre's two kernels on its own pairs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.calibrated_transfer import OwnTransfer

from ..evaluation.cases import case_of
from ..simulate.store import read_patient
from .kernel_pair import PairRecord
from .unpacked import on_b20f

logger = logging.getLogger(__name__)

# Tissue 45 mm wide: narrower patches do not resolve what happens below 0.5 lp/cm, wider ones meet lung or strong streaks.
PATCH, PATCH_STEP = 64, 16
# So few truncated voxels do not change a gain by 1 % (measured on simulated pairs with a known transfer, up to 1.5 lp/cm).
TRUNCATED_SHARE = 0.002
NEEDED_PATCHES = 200
STEP_LP_PER_CM = 0.1
LAST_LP_PER_CM = 8.0
# Three slices of a patient are enough: neighbouring slices share most of their tissue.
SLICES = 3


def measure_transfer(files: Sequence[Path], needed: int = NEEDED_PATCHES) -> OwnTransfer:
    """Gain from the sharp kernel to B20f, from the cross-spectra of both images in tissue that was not truncated.

    Sharp and smooth reconstruction share raw data and noise, so the ratio of cross- to power spectrum is the ratio of
    the two kernels; where the sharp image aliases, it is the filter that leaves the least error.

    Args:
        files: pairs of one sharp kernel.
        needed: least number of patches; with fewer the gains are noisier.

    Raises:
        InputError: several kernels, or too little tissue.
    """
    frequency = np.arange(0.0, LAST_LP_PER_CM + STEP_LP_PER_CM / 2, STEP_LP_PER_CM)
    cross, power = np.zeros_like(frequency), np.zeros_like(frequency)
    kernels: set[str] = set()
    patches = 0
    for path in files:
        patient = read_patient(path)
        case = case_of(path.stem, patient)
        kernels.add(str(case.sharp.acquisition.kernel))
        slices = np.unique(np.linspace(0, case.slices - 1, SLICES).astype(int))
        pixel = patient.spacing[1]
        sharp, smooth = patient.sharp[slices], on_b20f(patient.smooth[slices], pixel, patient.meta)
        patches += _add_spectra(sharp.astype(float), smooth.astype(float), _lowest(patient.meta), pixel, cross, power)
    if len(kernels) > 1:
        raise InputError(f"The pairs are of several kernels ({', '.join(sorted(kernels))}); one transfer is of one kernel.")
    if patches < needed:
        raise InputError(
            f"The pairs show {patches} patches of tissue without truncated voxels, at least {needed} are "
            "needed to measure the transfer; give more pairs, or train without --own-transfer."
        )
    known = power > 0.0
    gains = np.interp(frequency, frequency[known], cross[known] / power[known])
    gains[0] = 1.0
    logger.info("transfer measured on %d patches of %d pairs", patches, len(files))
    return OwnTransfer(kernels.pop(), STEP_LP_PER_CM, tuple(float(round(g, 5)) for g in gains))


def _lowest(meta: PairRecord) -> float:
    # A mean of images truncated before lies some way above the floor; where all values are far from it, none was truncated.
    truncation = meta.get("truncation")
    averaged = truncation is not None and len(truncation["weights"]) > 1
    return float(meta["floor"]["value"]) + (100.0 if averaged else 0.5)


def _add_spectra(
    sharp: NDArray[np.float64],
    smooth: NDArray[np.float64],
    lowest: float,
    pixel_mm: float,
    cross: NDArray[np.float64],
    power: NDArray[np.float64],
) -> int:
    window = np.hanning(PATCH + 2)[1:-1]
    taper = np.outer(window, window)
    radius = np.hypot(np.fft.fftfreq(PATCH, pixel_mm / 10.0)[:, None], np.fft.rfftfreq(PATCH, pixel_mm / 10.0)[None, :])
    ring = np.rint(radius / STEP_LP_PER_CM).astype(int)
    used = ring < len(power)
    windows = sliding_window_view(sharp <= lowest, (PATCH, PATCH), axis=(1, 2))[:, ::PATCH_STEP, ::PATCH_STEP]
    places = np.argwhere(windows.mean(axis=(3, 4)) <= TRUNCATED_SHARE)
    for k, row, column in places:
        part = np.s_[k, row * PATCH_STEP : row * PATCH_STEP + PATCH, column * PATCH_STEP : column * PATCH_STEP + PATCH]
        mean = sharp[part].mean()
        one, other = (np.fft.rfft2((image[part] - mean) * taper) for image in (sharp, smooth))
        cross += np.bincount(ring[used], (one.conj() * other).real[used], len(cross))
        power += np.bincount(ring[used], (np.abs(one) ** 2)[used], len(power))
    return len(places)
