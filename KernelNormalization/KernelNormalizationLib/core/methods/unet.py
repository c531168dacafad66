"""The network on top of the restored transfer, or alone."""

from __future__ import annotations

import time
from typing import Any

from ..imaging.reconstruction_plane import in_reconstruction_plane
from ..kernels.transfer import find_transfer
from ..network.backends import Choice, Device, available_cpu_backends, choose_backend, create_cpu_backend
from ..network.model_folder import Model
from ..network.tiled_inference import NetworkRun
from ..progress import Progress
from ..suitability import assess
from ..volume import CTVolume
from .correction import Correction, drawn_volume
from .hypotheses import hypotheses_record, no_hypotheses
from .protocol import HYPOTHESES_KEY, UNCHANGED_KEY, Method, NormalizationResult
from .restored import restoration
from .result import build_result


class UNetNormalizer:
    """A network: on top of the restored linear transfer, or drawing the smooth image from the sharp one alone.

    Args:
        model: verified model.
        device: where to compute.

    Raises:
        InputError: the device is not there.
        ModelError: the model does not reproduce its conformance vectors.
    """

    method: Method = "unet"

    def __init__(self, model: Model, device: Device = "auto") -> None:
        self.model = model
        self.choice: Choice = choose_backend(model, device)

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        started = time.monotonic()
        stored, turned = volume, in_reconstruction_plane(volume)
        volume = turned.volume
        suitability = assess(volume, self.model.domain)
        region = suitability.region
        transfer = find_transfer(volume, region, suitability.sharpness, self.model.transfer)
        run = NetworkRun(self.choice.backend, self._cpu_backend)
        told: dict[str, Any] = {HYPOTHESES_KEY: no_hypotheses("the network draws the image without transfer and restoration")}
        if transfer.is_identity:
            # An already smooth scan is not changed: the floor of the reference kernel would remove the same few HU.
            hu = volume.hu
            told = {HYPOTHESES_KEY: hypotheses_record(volume, region, transfer, None), UNCHANGED_KEY: True}
        elif self.model.residual:
            restored = restoration(volume, region, suitability.floor, transfer.gain)
            told = restored.told(volume, region, transfer, suitability.sharpness)
            hu = Correction(volume.filled(), restored.of, region, run).over_volume(progress)
        else:
            hu = drawn_volume(volume.filled(), run, progress)
        record = {
            "model": self.model.id,
            "model_label": self.model.label,
            "model_sha256": self.model.sha256,
            "device_reason": self.choice.reason,
            **transfer.record,
            **told,
            **run.as_record(),
        }
        record["seconds"] = round(time.monotonic() - started, 2)
        return build_result(stored, turned.back(hu), self.method, suitability, record, tuple(run.warnings))

    def _cpu_backend(self) -> Any:
        return create_cpu_backend(available_cpu_backends()[0], self.model)
