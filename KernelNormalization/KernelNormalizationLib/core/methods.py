"""The four normalization methods behind the one protocol."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .backends import Choice, Device, available_cpu_backends, choose_backend, create_cpu_backend
from .bands import normalize_bands
from .body import BodyRegion, find_body
from .censoring import restored_transfer
from .floor import HUFloor
from .heuristic import heuristic_filter
from .inference import NetworkRun, aligned_crop, reaches
from .linear import find_transfer
from .models import Model, load_model
from .normalizers import TARGET_KERNEL, Method, NormalizationResult, Normalizer, synthetic_name
from .outerair import OuterAir
from .progress import Progress
from .radial import filter_slices
from .suitability import Suitability, assess
from .volume import CTVolume, FloatArray
from .write import RESEARCH_USE

VERSION = "0.1.0"
TARGET_FLOOR_HU = -1024.0
# Bounds the copies made of a long series; the batches inside follow the device's memory.
COPIED_SLICES = 32


@dataclass(frozen=True)
class FilterNormalizer:
    """A method without a network.

    Attributes:
        method: its name.
        compute: gives float32 (k, j, i), HU, and a record of parameters.
    """

    method: Method
    compute: Callable[[CTVolume, Progress], tuple[FloatArray, dict[str, Any]]]

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        started = time.monotonic()
        suitability = assess(volume)
        hu, record = self.compute(volume, progress)
        return _result(volume, hu, self.method, suitability, record, time.monotonic() - started)


def linear_transfer(volume: CTVolume, progress: Progress) -> tuple[FloatArray, dict[str, Any]]:
    """Radial filter from the volume's kernel to B20f, slice by slice.

    Returns:
        float32 (k, j, i), HU, and the source kernel.
    """
    transfer = find_transfer(volume)
    return filter_slices(volume, transfer.gain, "Linear transfer", progress), transfer.record


class UNetNormalizer:
    """The network on top of the kernel transfer.

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
        region = find_body(volume)
        suitability = assess(volume, region)
        transfer = find_transfer(volume, region, suitability.sharpness, self.model.transfer)
        restored = self.model.base == "restored" and not transfer.is_identity
        known = suitability.floor if restored else replace(suitability.floor, kind="none")
        base = restored_transfer(volume, known, transfer.gain, "Linear transfer", progress)
        run = NetworkRun(self.choice.backend, self._cpu_backend)
        # A scan that is smooth already is left alone: what little its floor took, the reference kernel's floor takes too.
        hu = base if transfer.is_identity else self._corrected(volume, base, region, suitability.floor, run, progress)
        record = {
            "model": self.model.id,
            "model_sha256": self.model.sha256,
            "device_reason": self.choice.reason,
            **transfer.record,
            **run.as_record(),
        }
        return _result(volume, hu, self.method, suitability, record, time.monotonic() - started, tuple(run.warnings))

    def _corrected(self, volume: CTVolume, base: FloatArray, region: BodyRegion | None, floor: HUFloor,
                   run: NetworkRun, progress: Progress) -> FloatArray:  # fmt: skip
        if region is None:
            return base
        sharp = volume.filled()
        rows, columns = aligned_crop(region.box, volume.shape[1:])
        needed = region.slices_with_body.copy()
        if self.model.residual:
            needed &= reaches(sharp[:, rows, columns] <= floor.threshold)
        indices = np.flatnonzero(needed)
        progress.start("Network", len(indices))
        out, air = base.copy(), OuterAir(floor.threshold)
        for first in range(0, len(indices), COPIED_SLICES):
            part = indices[first : first + COPIED_SLICES]
            near, linear = (x[part][:, rows, columns] for x in (sharp, base))
            made = run.over_slices(near, linear, floor.threshold, progress)
            air.observe(near, linear, made)
            out[part, rows, columns] = made
        seen = np.zeros(len(out), bool)
        seen[indices] = True
        for k in range(len(out)):
            outer = air.apply(sharp[k], base[k])
            if seen[k]:
                outer[rows, columns] = out[k, rows, columns]
            out[k] = outer
        return out

    def _cpu_backend(self) -> Any:
        return create_cpu_backend(available_cpu_backends()[0], self.model)


def create_normalizer(method: Method, *, model: str | None = None, device: Device = "auto") -> Normalizer:
    """The normalizer of that name.

    Args:
        method: ``unet``, ``bands``, ``heuristic`` or ``linear``.
        model: identifier or folder, for ``unet``; default: the one that comes with the product.
        device: where the network computes.
    """
    if method == "unet":
        return UNetNormalizer(load_model(model), device)
    computations = {"bands": normalize_bands, "heuristic": heuristic_filter, "linear": linear_transfer}
    return FilterNormalizer(method, computations[method])


def _result(volume: CTVolume, hu: FloatArray, method: Method, suitability: Suitability, record: dict[str, Any],
            seconds: float, warnings: tuple[str, ...] = ()) -> NormalizationResult:  # fmt: skip
    if suitability.floor.kind != "none":
        hu = np.maximum(hu, np.float32(TARGET_FLOOR_HU))
    made = volume.with_hu(hu, name=synthetic_name(volume.name), synthetic=True)
    made = replace(made, acquisition=replace(volume.acquisition, kernel=f"{TARGET_KERNEL} (synthetic)"))
    provenance = {
        "method": method,
        "target_kernel": TARGET_KERNEL,
        "synthetic": True,
        "use": RESEARCH_USE,
        "version": VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "seconds": round(seconds, 2),
        "input": {
            "name": volume.name,
            "kernel": volume.acquisition.kernel,
            "manufacturer": volume.acquisition.manufacturer,
            "scanner_model": volume.acquisition.scanner_model,
            "series_instance_uid": volume.acquisition.series_instance_uid,
            "shape": list(volume.shape),
            "spacing_mm": list(volume.geometry.spacing),
            "padding_hu": volume.padding_value,
            **suitability.as_record(),
        },
        "warnings": [*suitability.reasons, *warnings],
        **record,
    }
    return NormalizationResult(made, provenance)
