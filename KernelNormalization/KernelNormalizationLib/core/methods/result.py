"""The result of a method: volume and provenance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..provenance.hashes import voxels_sha256
from ..provenance.manifest import OUTPUT_KEY, input_facts, new_manifest
from ..suitability import Suitability
from ..truncation.hu_floor import HUFloor
from ..volume import CTVolume
from .protocol import METHOD_NONE, TARGET_KERNEL, UNCHANGED_KEY, Method, NormalizationResult, synthetic_name

TARGET_FLOOR_HU = -1024.0
NOTHING_DONE = "Nothing was done: the scan is as smooth as the reference kernel already, and its voxels were left as they are."


def build_result(
    volume: CTVolume,
    hu: FloatArray,
    method: Method,
    suitability: Suitability,
    record: dict[str, Any],
    warnings: tuple[str, ...] = (),
) -> NormalizationResult:
    """The result of a method, with its provenance.

    Args:
        volume: the scan as stored.
        hu: float32 (k, j, i), HU, what the method made of it.
        method: its name.
        suitability: how the scan was assessed.
        record: parameters and results of the method, with the ``seconds`` that it took.
        warnings: for the user, in addition to the reasons of the assessment.
    """
    unchanged = bool(record.get(UNCHANGED_KEY))
    made = volume if unchanged else _drawn(volume, hu, suitability.floor)
    if unchanged:
        warnings = (NOTHING_DONE, *warnings)
    provenance = {
        **new_manifest("normalization", record.get("backend")),
        "method": METHOD_NONE if unchanged else method,
        "target_kernel": None if unchanged else TARGET_KERNEL,
        "synthetic": made.synthetic,
        "input": {
            **input_facts(volume),
            **suitability.as_record(),
        },
        "warnings": [*warnings, *suitability.reasons] if unchanged else [*suitability.reasons, *warnings],
        **({"method_asked_for": method} if unchanged else {}),
        **record,
        OUTPUT_KEY: {"voxels_sha256": voxels_sha256(made.hu)},
    }
    return NormalizationResult(made, provenance)


def _drawn(volume: CTVolume, hu: FloatArray, floor: HUFloor) -> CTVolume:
    """The synthetic volume with voxels ``hu`` (k, j, i), HU, in the place of ``volume``."""
    if floor.kind != "none":
        hu = np.maximum(hu, np.float32(TARGET_FLOOR_HU))
    facts = replace(volume.acquisition, kernel=f"{TARGET_KERNEL} (synthetic)", told_kernel=None)
    return volume.with_hu(hu, name=synthetic_name(volume.name), synthetic=True, acquisition=facts)
