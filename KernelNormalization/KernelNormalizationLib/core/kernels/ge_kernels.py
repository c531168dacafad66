"""Transfer of the published kernels of a GE scanner, from their noise power spectra.

Source: digitised normalized noise power spectra (mm^2) of eight kernels in the package DICaugment of the U.S. Food and Drug
Administration (MIT licence; notice in ge_noise_spectra.LICENSE.txt). They are probably the spectra of a Discovery CT750 HD that
Solomon et al. published in 2012.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..volume import Acquisition
from .noise_spectrum import Curve, Transfer

_PATH = Path(__file__).with_name("ge_noise_spectra.csv")
# Abbreviations in headers.
_SHORT = {"chst": "chest", "stnd": "standard", "std": "standard"}
# Every kernel is taken to pass as much in this range (lp/cm) as at zero frequency. Noise does not show how much a kernel passes
# at zero frequency, and the digitised values (steps of 0.01) are too coarse below. Checked on real Siemens pairs, whose spectra
# are of the same source: gains from B50f and B70f to B20f then agree with the measured ones within .035 (rms, 1 to 6 lp/cm);
# models fitted to the same spectra and extrapolated to zero frequency are 9 to 11 % too low from 1 to 2 lp/cm (rms .06).
TIED_LP_PER_CM = (0.7, 1.3)
# The digitised values are smoothed by a binomial of five points, 0.4 to 0.6 lp/cm wide.
_SMOOTH = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0


def ge_kernel(acquisition: Acquisition) -> str | None:
    """Name of the published GE kernel that the header states, such as ``"lung"``; ``None`` for other makers and kernels."""
    if not (acquisition.manufacturer or "").strip().upper().startswith("GE"):
        return None
    name = (acquisition.kernel or "").split("\\")[0].strip().lower()
    name = _SHORT.get(name, name)
    return name if name in published_spectra() else None


@lru_cache(maxsize=1)
def published_spectra() -> dict[str, NDArray[np.float64]]:
    """For each kernel name an array (2, n): frequency in lp/cm and normalized noise power in mm^2."""
    points: dict[str, list[tuple[float, float]]] = {}
    with _PATH.open(newline="", encoding="ascii") as stream:
        for row in csv.DictReader(stream):
            points.setdefault(row["kernel"], []).append((float(row["lp_per_cm"]), float(row["nnps_mm2"])))
    return {name: np.array(values).T for name, values in points.items()}


def ge_transfer(name: str) -> Transfer:
    """Transfer of a published GE kernel against frequency, lp/cm; 1 at zero frequency."""
    frequency, power = published_spectra()[name]
    return transfer_of_noise(frequency, power)


def transfer_of_noise(frequency: Curve, power: Curve) -> Transfer:
    """Transfer of a kernel whose noise has a given spectrum: filtered back-projection gives noise the power a f M(f)^2.

    Args:
        frequency: (n,), lp/cm, rising from 0.
        power: (n,), noise power in any unit.

    Returns:
        M as a function of frequency; 1 below ``TIED_LP_PER_CM``, 0 beyond the last frequency.
    """
    squared = power[1:] / frequency[1:]
    squared = np.convolve(np.pad(squared, 2, mode="edge"), _SMOOTH, mode="valid")
    low, high = TIED_LP_PER_CM
    tied = (frequency[1:] >= low) & (frequency[1:] <= high)
    transfer = np.sqrt(np.maximum(squared, 0.0) / squared[tied].mean())
    share = np.clip((frequency[1:] - low) / (high - low), 0.0, 1.0)
    known = np.r_[1.0, 1.0 + (transfer - 1.0) * share]
    return lambda f: np.asarray(np.interp(f, frequency, known, right=0.0), np.float64)
