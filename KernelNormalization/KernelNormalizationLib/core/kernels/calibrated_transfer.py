"""A kernel transfer measured on a centre's own pairs; it travels in the card of the model that was trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError


@dataclass(frozen=True)
class OwnTransfer:
    """In-plane gain from one kernel to the smooth one.

    Attributes:
        kernel: tag of the sharp kernel, such as ``"B80f"``.
        step_lp_per_cm: distance of the samples; the first is at zero frequency.
        gains: one a sample.
    """

    kernel: str
    step_lp_per_cm: float
    gains: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.gains) < 2 or not self.step_lp_per_cm > 0.0 or not np.isfinite(self.gains).all():
            found = f"{len(self.gains)} samples every {self.step_lp_per_cm} lp/cm"
            raise InputError(f"The transfer from {self.kernel} has {found}; measure it again on pairs.")

    def gain(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gain at ``frequency`` (lp/cm): linear between samples, the last one beyond them."""
        samples = self.step_lp_per_cm * np.arange(len(self.gains))
        return np.asarray(np.interp(frequency, samples, self.gains), np.float64)

    def fits(self, kernel: str | None) -> bool:
        """Whether a series with this kernel tag is of the measured kernel."""
        return kernel is not None and kernel.strip().lower() == self.kernel.strip().lower()

    @classmethod
    def from_card(cls, entry: dict[str, Any] | None) -> OwnTransfer | None:
        """From a model card's or a run's entry; ``None`` without one.

        Raises:
            InputError: no usable transfer.
            KeyError, TypeError, ValueError: no entry of this kind.
        """
        if entry is None:
            return None
        return cls(str(entry["kernel"]), float(entry["step_lp_per_cm"]), tuple(float(g) for g in entry["gains"]))
