"""Frequency bands: each band's energy in the lungs is brought down to that of the reference kernel.

After Gallardo-Estrella et al. 2013 and 2016 (known to us from their abstracts): hierarchical unsharp masking with Gaussians
of 1, 2, 4, 8 and 16 pixels, energy = standard deviation of a band inside the lungs, each band scaled to the reference
kernel's mean energy, low-pass left alone, repeated until all are within 5 %. Ours are:

- energies are compared relative to the 4 to 8 pixel band, which kernels do not change (simulated sharp to smooth 0.99 +- 0.04),
  so that the reference also applies to other doses and slice thicknesses; coarser bands are not changed either;
- around the coarse lung region the image is set to the lungs' mean before energies are measured; otherwise the edge of the
  chest wall would dominate the low bands;
- no band is amplified over all passes: a sharp kernel never has less energy than the smooth one of the same data.
"""

from __future__ import annotations

from typing import Any

from ..arrays import FloatArray
from ..errors import InputError
from ..kernels.lung_spectrum import find_band_gain
from ..kernels.radial_filter import filter_slices
from ..progress import Progress
from ..suitability import Suitability
from ..volume import CTVolume


def normalize_bands(volume: CTVolume, scan: Suitability, progress: Progress) -> tuple[FloatArray, dict[str, Any]]:
    """Scale the frequency bands of ``volume`` to the energies of B20f lungs.

    Returns:
        float32 (k, j, i), HU, and the energies before and after, factors and passes.

    Raises:
        InputError: no lung to measure energies in.
    """
    region = scan.region
    if region is None or not region.lungs.any():
        raise InputError("No aerated lung was found, so band energies cannot be measured; use another method.")
    gain, record = find_band_gain(volume, region)
    return filter_slices(volume, gain, "Frequency bands", progress), record
