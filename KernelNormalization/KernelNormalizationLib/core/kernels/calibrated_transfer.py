"""A kernel transfer that was measured on a centre's own pairs. It is stored in the card of the model trained on these pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError


@dataclass(frozen=True)
class OwnTransfer:
    """Measured in-plane gain from a sharp kernel to the smooth one.

    Attributes:
        kernel: name of the sharp kernel in the header, such as ``"B80f"``.
        step_lp_per_cm: distance between samples; the first is at zero frequency.
        gains: the gain at each sample.
    """

    kernel: str
    step_lp_per_cm: float
    gains: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.gains) < 2 or not self.step_lp_per_cm > 0.0 or not np.isfinite(self.gains).all():
            found = f"{len(self.gains)} samples every {self.step_lp_per_cm} lp/cm"
            raise InputError(f"The transfer from {self.kernel} has {found}; measure it again on pairs.")

    def gain(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gain at ``frequency`` (lp/cm): linear between samples, constant beyond the last one."""
        samples = self.step_lp_per_cm * np.arange(len(self.gains))
        return np.asarray(np.interp(frequency, samples, self.gains), np.float64)

    def fits(self, kernel: str | None) -> bool:
        """Whether ``kernel``, from a header, is the measured one."""
        return kernel is not None and kernel.strip().lower() == self.kernel.strip().lower()

    @classmethod
    def from_card(cls, entry: dict[str, Any] | None) -> OwnTransfer | None:
        """Read the entry of a model card or of a training run; ``None`` if there is no entry.

        Raises:
            InputError: the transfer cannot be used.
            KeyError, TypeError, ValueError: the entry does not describe a transfer.
        """
        if entry is None:
            return None
        return cls(str(entry["kernel"]), float(entry["step_lp_per_cm"]), tuple(float(g) for g in entry["gains"]))
