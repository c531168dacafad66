"""The normalization methods behind the one protocol."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..imaging.body import BodyRegion, find_body
from ..imaging.reconstruction_plane import in_reconstruction_plane
from ..io.writing import RESEARCH_USE
from ..kernels.radial_filter import Gain, apply_gain, filter_slices, in_threads
from ..kernels.transfer import SourceTransfer, find_transfer
from ..network.backends import Choice, Device, available_cpu_backends, choose_backend, create_cpu_backend
from ..network.model_folder import Model, load_model
from ..network.tiled_inference import NetworkRun
from ..progress import Progress
from ..suitability import Suitability, assess
from ..truncation.estimation import estimate_plan, examined_slices
from ..truncation.hu_floor import HUFloor, detect_floor
from ..truncation.restoration import RestorationPlan, Restorer
from ..truncation.scan_regions import BODY_MARGIN_PIXELS
from ..version import VERSION
from ..volume import CTVolume, FloatArray
from .correction import Correction, Restore, drawn_volume, restored_volume
from .frequency_bands import normalize_bands
from .hypotheses import hypotheses_record, no_hypotheses
from .median_gaussian import heuristic_filter
from .protocol import (
    HYPOTHESES_KEY,
    METHOD_NONE,
    METHODS,
    TARGET_KERNEL,
    UNCHANGED_KEY,
    Method,
    NormalizationResult,
    Normalizer,
    synthetic_name,
)

TARGET_FLOOR_HU = -1024.0
NOTHING_DONE = "Nothing was done: the scan is as smooth as the reference kernel already, and its voxels were left as they are."


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
        turned = in_reconstruction_plane(volume)
        suitability = assess(turned.volume)
        hu, record = self.compute(turned.volume, progress)
        return _result(volume, turned.back(hu), self.method, suitability, record, time.monotonic() - started)


def linear_transfer(volume: CTVolume, progress: Progress) -> tuple[FloatArray, dict[str, Any]]:
    """Radial filter from the volume's kernel to B20f, slice by slice.

    Returns:
        float32 (k, j, i), HU, and the source kernel.
    """
    transfer = find_transfer(volume)
    if transfer.is_identity:
        return volume.hu, {**transfer.record, UNCHANGED_KEY: True}
    return filter_slices(volume, transfer.gain, "Linear transfer", progress), transfer.record


def restored_linear_transfer(volume: CTVolume, progress: Progress) -> tuple[FloatArray, dict[str, Any]]:
    """The linear transfer of the volume with what truncation took put back: the network's base without the network.

    Returns:
        float32 (k, j, i), HU, and the source kernel.
    """
    region = find_body(volume)
    transfer = find_transfer(volume, region)
    if transfer.is_identity:
        left_open = hypotheses_record(volume, region, transfer, None)
        return volume.hu, {**transfer.record, HYPOTHESES_KEY: left_open, UNCHANGED_KEY: True}
    restored = restoration(volume, region, detect_floor(volume.hu, volume.padding_mask), transfer.gain)
    told = restored.told(volume, region, transfer)
    return restored_volume(restored.of, volume.shape, progress), {**transfer.record, **told}


@dataclass(frozen=True)
class Restoration:
    """How a volume's slices are restored and brought to B20f.

    Attributes:
        of: gives the base and what was lost of some slices.
        plan: how they were truncated and what that rests on; ``None`` if they were not.
    """

    of: Restore
    plan: RestorationPlan | None = None

    def told(self, volume: CTVolume, region: BodyRegion | None, transfer: SourceTransfer) -> dict[str, Any]:
        """For provenance: the plan, and how the index would move under what the scan leaves open."""
        record = {} if self.plan is None else self.plan.as_record()
        return {**record, HYPOTHESES_KEY: hypotheses_record(volume, region, transfer, self.plan)}


def restoration(volume: CTVolume, region: BodyRegion | None, floor: HUFloor, gain: Gain) -> Restoration:
    """How slices of ``volume`` are restored and brought to B20f.

    Args:
        volume: the scan.
        region: its body, if there is one.
        floor: its HU floor.
        gain: in-plane gain from its kernel to B20f against frequency in lp/cm.
    """
    hu, pixel_mm = volume.filled(), (volume.geometry.spacing[1], volume.geometry.spacing[2])
    if floor.kind == "none":
        return Restoration(lambda part: (apply_gain(hu[part], pixel_mm, gain), np.zeros_like(hu[part])))
    with_lung = region.lungs.any(axis=(1, 2)) if region is not None else np.zeros(len(hu), bool)
    places = np.flatnonzero(with_lung) if with_lung.any() else np.arange(len(hu))
    examined = hu[places[examined_slices(places.size)]]
    plan = estimate_plan(examined, pixel_mm, gain, floor.value, volume.acquisition.is_siemens)
    restorer = Restorer((hu.shape[1], hu.shape[2]), pixel_mm, gain)

    def one(k: int) -> tuple[FloatArray, FloatArray]:
        outside = None if region is None else ~ndimage.binary_dilation(region.body[k], iterations=BODY_MARGIN_PIXELS)
        state = restorer.restore(hu[k], plan, outside)
        return state.base, state.lost

    def restore(part: slice) -> tuple[FloatArray, FloatArray]:
        base, lost = (np.stack(images) for images in zip(*in_threads(one, range(part.start, part.stop)), strict=True))
        return base, lost

    return Restoration(restore, plan)


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
        region = find_body(volume)
        suitability = assess(volume, region)
        transfer = find_transfer(volume, region, suitability.sharpness, self.model.transfer)
        run = NetworkRun(self.choice.backend, self._cpu_backend)
        told: dict[str, Any] = {HYPOTHESES_KEY: no_hypotheses("the network draws the image without transfer and restoration")}
        if transfer.is_identity:
            # A scan that is smooth already is left alone: what little its floor took, the reference kernel's floor takes too.
            hu = volume.hu
            told = {HYPOTHESES_KEY: hypotheses_record(volume, region, transfer, None), UNCHANGED_KEY: True}
        elif self.model.residual:
            restored = restoration(volume, region, suitability.floor, transfer.gain)
            told = restored.told(volume, region, transfer)
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
        seconds = time.monotonic() - started
        return _result(stored, turned.back(hu), self.method, suitability, record, seconds, tuple(run.warnings))

    def _cpu_backend(self) -> Any:
        return create_cpu_backend(available_cpu_backends()[0], self.model)


def create_normalizer(method: Method, *, model: str | Path | None = None, device: Device = "auto") -> Normalizer:
    """The normalizer of that name.

    Args:
        method: one of :data:`METHODS`.
        model: identifier or folder, for ``unet`` (the other methods use none); default: the one the product names so.
        device: where the network computes.

    Raises:
        InputError: no such method, model or device; the message names those there are.
        ModelError: the model cannot be used.
    """
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    if method == "unet":
        return UNetNormalizer(load_model(model), device)
    computations = {"restored": restored_linear_transfer, "bands": normalize_bands, "heuristic": heuristic_filter,
                    "linear": linear_transfer}  # fmt: skip
    return FilterNormalizer(method, computations[method])


def _result(volume: CTVolume, hu: FloatArray, method: Method, suitability: Suitability, record: dict[str, Any],
            seconds: float, warnings: tuple[str, ...] = ()) -> NormalizationResult:  # fmt: skip
    unchanged = bool(record.get(UNCHANGED_KEY))
    made = volume if unchanged else _drawn(volume, hu, suitability.floor)
    if unchanged:
        warnings = (NOTHING_DONE, *warnings)
    provenance = {
        "method": METHOD_NONE if unchanged else method,
        "target_kernel": None if unchanged else TARGET_KERNEL,
        "synthetic": made.synthetic,
        "use": RESEARCH_USE,
        "version": VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "seconds": round(seconds, 2),
        "input": {
            "name": volume.name,
            "kernel": volume.acquisition.kernel,
            "kernel_told_by_user": volume.acquisition.told_kernel,
            "manufacturer": volume.acquisition.manufacturer,
            "scanner_model": volume.acquisition.scanner_model,
            "series_instance_uid": volume.acquisition.series_instance_uid,
            "shape": list(volume.shape),
            "spacing_mm": list(volume.geometry.spacing),
            "padding_hu": volume.padding_value,
            **suitability.as_record(),
        },
        "warnings": [*warnings, *suitability.reasons] if unchanged else [*suitability.reasons, *warnings],
        **({"method_asked_for": method} if unchanged else {}),
        **record,
    }
    return NormalizationResult(made, provenance)


def _drawn(volume: CTVolume, hu: FloatArray, floor: HUFloor) -> CTVolume:
    """The synthetic volume with voxels ``hu`` (k, j, i), HU, in the place of ``volume``."""
    if floor.kind != "none":
        hu = np.maximum(hu, np.float32(TARGET_FLOOR_HU))
    facts = replace(volume.acquisition, kernel=f"{TARGET_KERNEL} (synthetic)", told_kernel=None)
    return volume.with_hu(hu, name=synthetic_name(volume.name), synthetic=True, acquisition=facts)
