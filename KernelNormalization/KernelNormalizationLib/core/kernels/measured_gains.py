"""Measured in-plane transfer gains between Siemens kernels (reconstructions of one patient from the same raw data).

They come from cross-spectra of paired series; the coherence is 0.97 to 1.00 up to the frequency where the softer kernel ends.
Negative estimates above that frequency were set to zero. A second patient of the same scanner has the same gains within 1 % up
to 3 lp/cm.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_PATH = Path(__file__).with_name("measured_gains.csv")


def _read() -> tuple[NDArray[np.float64], dict[tuple[str, str], NDArray[np.float64]]]:
    with _PATH.open(newline="", encoding="ascii") as stream:
        rows = list(csv.reader(stream))
    values = np.array(rows[1:], dtype=np.float64)
    pairs = [tuple(name.split("_to_")) for name in rows[0][1:]]
    return values[:, 0], {(source, target): values[:, n] for n, (source, target) in enumerate(pairs, 1)}


# In-plane frequencies (lp/cm) and, for every (source, target) kernel, the gains there.
SAMPLED_FREQUENCIES, MEASURED_GAINS = _read()
