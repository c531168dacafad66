"""What is done with every case of a cohort, and which results an earlier run may lend."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from EmphysemaQuantLib.core.indices.regions import Thirds
from EmphysemaQuantLib.core.results.measurement import MeasurementSettings
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.methods.protocol import DEFAULT_METHOD, Method
from KernelNormalizationLib.core.methods.registry import chosen_method, create_normalizer
from KernelNormalizationLib.core.network.backends import Device
from KernelNormalizationLib.core.network.model_folder import load_model
from KernelNormalizationLib.core.version import VERSION

# Of a worker, GB (10^9 bytes): 512 x 512 x 300 voxels with the network take 2.8, and reading the next 0.7.
MEMORY_GB = 4.0


@dataclass(frozen=True)
class CohortSettings:
    """The choices of a run.

    Attributes:
        method: of normalization.
        model: name or folder, for "unet" only; ``None`` for the default.
        device: where the network computes.
        threshold_hu: HU of the emphysema index.
        thirds_by: thirds of equal "volume" or "height".
        report: whether each case gets a report page.
        keep_volumes: whether normalized volumes stay on disk; without them another threshold means normalizing again.
        dicom: whether each DICOM case gets the synthetic series as DICOM.
        memory_gb: GB a worker may take.
        model_sha256: of the model's weights; filled by :meth:`checked`.
    """

    method: Method = DEFAULT_METHOD
    model: str | None = None
    device: Device = "auto"
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU
    thirds_by: Thirds = "volume"
    report: bool = False
    keep_volumes: bool = True
    dicom: bool = False
    memory_gb: float = MEMORY_GB
    model_sha256: str | None = None

    def checked(self) -> CohortSettings:
        """The same settings with the model found and verified, before any work is done.

        Raises:
            InputError: method, model, threshold or memory cannot be used.
            ModelError: the model is damaged.
        """
        chosen_method(self.method, self.model)
        MeasurementSettings(self.threshold_hu, self.thirds_by)
        if not 0.5 <= self.memory_gb <= 1000.0:
            raise InputError(f"--memory {self.memory_gb:g} is not a possible memory for a worker; give GB from 0.5 to 1000.")
        if self.method != "unet":
            create_normalizer(self.method)
            return self
        return replace(self, model_sha256=load_model(self.model).sha256)

    def normalization(self) -> dict[str, Any]:
        """What a normalized volume depends on, beside the case."""
        return {"method": self.method, "model_sha256": self.model_sha256, "version": VERSION}

    def measurement(self) -> dict[str, Any]:
        """What a measurement depends on, beside the normalized volume and the case."""
        return {"threshold_hu": self.threshold_hu, "thirds_by": self.thirds_by}

    def products(self) -> list[str]:
        """What is written beside the numbers of a case."""
        return [name for name, wanted in (("report", self.report), ("dicom", self.dicom)) if wanted]

    def as_record(self) -> dict[str, Any]:
        """For ``cohort.json`` and the summary."""
        return {**asdict(self), "version": VERSION}


def digest(content: Any) -> str:
    """SHA-256 of JSON-serializable ``content``; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()
