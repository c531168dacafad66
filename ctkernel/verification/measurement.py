"""A measurement (``metrics.json``), made again from its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.measurement import MeasurementSettings, measure, original_first, segment
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.provenance.hashes import voxels_sha256
from KernelNormalizationLib.core.volume import CTVolume

from ..quantification_files import MANIFEST_KEY, SEGMENTATION, json_record, records_of
from .findings import OLDER, Verification, check_files, check_seal, check_versions, differing
from .inputs import check_input, find_inputs
from .normalization import Choices

# The same voxels on the same mask give the same numbers but for the order of summation.
NUMBERS_WITHIN = (1e-6, 1e-9)
# Keys of a volume that say where it came from, or that need the patient's height and weight, which are not on record.
_NOT_COMPARED = ("name", "provenance", "perc15_adjusted_hu", "acquisition")


def verify_measurement(record: Mapping[str, Any], path: Path, choices: Choices, progress: Progress) -> Verification:
    """Measure the recorded volumes again and compare every index.

    Args:
        record: content of ``path``.
        path: ``metrics.json``; volumes and segmentation are sought beside it.
        choices: of the user.
        progress: told of the steps.

    Raises:
        InputError: a volume or the supplied mask was not found or cannot be read.
        LungNotFoundError: no lung for the automatic mask.
        Cancelled: the user stopped.
    """
    found = Verification()
    manifest = record.get(MANIFEST_KEY) or {}
    inputs = manifest.get("inputs") or [_older_facts(volume) for volume in record["volumes"]]
    check_seal(record, found)
    items = find_inputs(inputs, path.parent, choices.inputs)
    known = [check_input(facts, item, found) for facts, item in zip(inputs, items, strict=True)]
    check_files(manifest, path.parent, found)
    check_versions(manifest, None, found)
    if not all(known):
        found.note("indices", "Nothing was measured again: another volume has other indices.")
        return found
    read = {_as_told(facts, item.volume): item.path for facts, item in zip(inputs, items, strict=True)}
    records = records_of(read)
    mask = _lung_mask(manifest, list(read), path.parent, choices, progress)
    _compare_masks(manifest, mask, path.parent, found, items[0].volume)
    settings = MeasurementSettings(**_settings(manifest, record))
    again = json_record(measure(list(read), mask, settings, records, progress))
    _compare_indices(record, json.loads(json.dumps(again)), found)
    if (manifest.get("parameters") or {}).get("patient_described"):
        found.note("indices", "Values that need the patient's height and weight are not compared; those are not on record.")
    return found


def _as_told(facts: Mapping[str, Any], volume: CTVolume) -> CTVolume:
    """The volume with the kernel that the user named at the time of the measurement."""
    told = facts.get("kernel_told_by_user")
    return with_told_kernel(volume, None if told is None else str(told))


def _older_facts(volume: Mapping[str, Any]) -> dict[str, Any]:
    """What a record without facts about its inputs tells of a measured volume."""
    return {"name": volume.get("name"), "synthetic": volume.get("synthetic")}


def _settings(manifest: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    told = manifest.get("parameters") or {}
    threshold = told.get("threshold_hu", record["volumes"][0]["threshold_hu"])
    return {"threshold_hu": threshold, **({"thirds_by": told["thirds_by"]} if "thirds_by" in told else {})}


def _lung_mask(
    manifest: Mapping[str, Any], volumes: list[CTVolume], folder: Path, choices: Choices, progress: Progress
) -> LungMask:
    """The mask made again: segmented if it was, else read from what was supplied or from the segmentation beside."""
    original = original_first(volumes)[0]
    if choices.mask is not None:
        return read_mask(original, choices.mask)
    if (manifest.get("lung_mask") or {}).get("origin") == "supplied":
        if not (folder / SEGMENTATION).is_file():
            raise InputError(f"The lung mask was supplied and {SEGMENTATION} is not beside the record; give it with --mask.")
        return read_mask(original, folder / SEGMENTATION)
    return segment(volumes, progress)


def _compare_masks(manifest: Mapping[str, Any], mask: LungMask, folder: Path, found: Verification, volume: CTVolume) -> None:
    told = manifest.get("lung_mask")
    if not told:
        found.note("lung mask", f"The lung mask cannot be compared by its hash; {OLDER}.")
        return
    how = "The supplied lung mask" if told.get("origin") == "supplied" else "Segmented again, the lung mask"
    same = voxels_sha256(mask.labels) == told.get("labels_sha256")
    text = f"{how} is not the one on record."
    if not same and (folder / SEGMENTATION).is_file():
        then, now = read_mask(volume, folder / SEGMENTATION).mask, mask.mask
        both = int(np.count_nonzero(then)) + int(np.count_nonzero(now))
        dice = 2.0 * int(np.count_nonzero(then & now)) / both if both else 1.0
        found.numbers["lung_mask_dice"] = dice
        text = f"{how} differs from {SEGMENTATION} (Dice {dice:.4f})."
    found.check("lung mask", same, (f"{how} is the same to the voxel.", text))


def _compare_indices(record: Mapping[str, Any], again: Mapping[str, Any], found: Verification) -> None:
    places: list[str] = []
    for then, now in zip(record["volumes"], again["volumes"], strict=True):
        name, before, after = then["name"], then["regions"][0]["ei_percent"], now["regions"][0]["ei_percent"]
        found.numbers.setdefault("ei_percent", []).append({"name": name, "recorded": before, "again": after})
        text = f"EI of {name}: {before:.3f} % on record, {after:.3f} % measured again."
        found.check("EI", not list(differing(before, after, NUMBERS_WITHIN)), (text, text))
        kept = [{key: v for key, v in side.items() if key not in _NOT_COMPARED} for side in (then, now)]
        places += [f"{name}, {place}" for place in differing(kept[0], kept[1], NUMBERS_WITHIN)]
    places += list(differing(record.get("agreement"), again.get("agreement"), NUMBERS_WITHIN, "agreement"))
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    texts = ("All other indices are the same.", f"Indices differ: {'; '.join(places[:3])}{more}.")
    found.check("indices", not places, texts)
