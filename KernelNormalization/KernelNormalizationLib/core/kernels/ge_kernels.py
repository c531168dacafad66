"""Transfer of the published kernels of a GE scanner, fitted to their noise power spectra.

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
from .mtf import KernelModel

_PATH = Path(__file__).with_name("ge_noise_spectra.csv")
# Below this frequency (lp/cm) the spectra are not fitted: the steps of the digitised values (0.01) are too coarse there.
_LOWEST_LP_PER_CM = 0.5
# Limits and starting points of the fit, in the order log f50, log p, b, log f1, log of the scale.
_LOWER, _UPPER = (0.5, 0.3, -0.4, 0.3, -6.0), (2.8, 2.7, 6.0, 2.4, 2.5)
_STARTS = ((1.1, 0.8, 0.0, 1.3, 0.6), (1.9, 1.4, 0.5, 1.6, -2.0), (2.1, 1.8, 1.2, 1.8, -3.3))


def ge_kernel(acquisition: Acquisition) -> str | None:
    """Name of the published GE kernel that the header states, such as ``"lung"``; ``None`` for other makers and kernels."""
    if not (acquisition.manufacturer or "").strip().upper().startswith("GE"):
        return None
    name = (acquisition.kernel or "").strip().lower()
    return name if name in published_spectra() else None


@lru_cache(maxsize=1)
def published_spectra() -> dict[str, NDArray[np.float64]]:
    """For each kernel name an array (2, n): frequency in lp/cm and normalized noise power in mm^2."""
    points: dict[str, list[tuple[float, float]]] = {}
    with _PATH.open(newline="", encoding="ascii") as stream:
        for row in csv.DictReader(stream):
            points.setdefault(row["kernel"], []).append((float(row["lp_per_cm"]), float(row["nnps_mm2"])))
    return {name: np.array(values).T for name, values in points.items()}


@lru_cache(maxsize=8)
def ge_kernel_model(name: str) -> KernelModel:
    """The transfer model of a published GE kernel: NPS = a f M(f)^2 fitted to its spectrum.

    The root-mean-square error is 1 to 2.5 % of the peak of the spectrum, and 4 % for ``edge``.
    """
    from scipy.optimize import least_squares  # slow to import, and few scans need it

    frequency, power = published_spectra()[name]
    used = frequency > _LOWEST_LP_PER_CM

    def residuals(shape: NDArray[np.float64]) -> NDArray[np.float64]:
        modelled = np.exp(shape[4]) * frequency * _model(shape).mtf(frequency) ** 2
        left: NDArray[np.float64] = ((modelled - power) / power.max())[used]
        return left

    found = min((least_squares(residuals, s, bounds=(_LOWER, _UPPER)) for s in _STARTS), key=lambda r: float(r.cost))
    return _model(found.x)


def _model(shape: NDArray[np.float64]) -> KernelModel:
    f50, p, f1 = np.exp(shape[[0, 1, 3]])
    return KernelModel(0, float(f50), float(p), float(shape[2]), float(f1))
