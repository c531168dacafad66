"""Chest CT from a sharp kernel to the smooth kernel on which emphysema is measured, and the measurement, in Python.

``read`` -> ``normalize`` -> ``segment_lungs`` -> ``measure`` -> ``write``; each function's help has an example. Research use
only, not for diagnosis. Everything is loaded on first use, so that ``import ctkernel`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from KernelNormalizationLib.core.version import VERSION as __version__

if TYPE_CHECKING:
    from EmphysemaQuantLib.core.lungs.segmentation import LungMask
    from EmphysemaQuantLib.core.results.acquisition_sheet import Patient
    from EmphysemaQuantLib.core.results.measurement import Measurement, MeasurementSettings
    from KernelNormalizationLib.core.errors import Cancelled, CTKernelError, InputError, LungNotFoundError, ModelError
    from KernelNormalizationLib.core.methods.protocol import NormalizationResult
    from KernelNormalizationLib.core.volume import CTVolume

    from .api import from_array, measure, normalize, read, segment_lungs, simulated_chest, write

__all__ = [
    "CTKernelError",
    "CTVolume",
    "Cancelled",
    "InputError",
    "LungMask",
    "LungNotFoundError",
    "Measurement",
    "MeasurementSettings",
    "ModelError",
    "NormalizationResult",
    "Patient",
    "__version__",
    "from_array",
    "measure",
    "normalize",
    "read",
    "segment_lungs",
    "simulated_chest",
    "write",
]

# Module -> names that this package takes from it.
_HOMES = {
    "ctkernel.api": ("from_array", "measure", "normalize", "read", "segment_lungs", "simulated_chest", "write"),
    "EmphysemaQuantLib.core.results.acquisition_sheet": ("Patient",),
    "EmphysemaQuantLib.core.lungs.segmentation": ("LungMask",),
    "EmphysemaQuantLib.core.results.measurement": ("Measurement", "MeasurementSettings"),
    "KernelNormalizationLib.core.errors": ("CTKernelError", "Cancelled", "InputError", "LungNotFoundError", "ModelError"),
    "KernelNormalizationLib.core.methods.protocol": ("NormalizationResult",),
    "KernelNormalizationLib.core.volume": ("CTVolume",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            found = getattr(import_module(module), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
