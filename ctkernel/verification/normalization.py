"""A normalized volume, made again from its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_beginning import has_dicom_mark
from KernelNormalizationLib.core.io.file_conversion import RECORD_SUFFIX, VOLUME_FILE_KEY, provenance_path
from KernelNormalizationLib.core.io.reading import VOLUME_SUFFIXES, read_volume
from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
from KernelNormalizationLib.core.methods.gate import normalize_gated
from KernelNormalizationLib.core.methods.protocol import GATE_KEY, HYPOTHESES_KEY, Method, NormalizationResult, Normalizer
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.network.backends import Device
from KernelNormalizationLib.core.network.model_folder import CONFORMANCE_HU, load_model
from KernelNormalizationLib.core.plain_text import plain
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.provenance.hashes import sha256_of, voxels_sha256
from KernelNormalizationLib.core.provenance.manifest import recorded_voxels
from KernelNormalizationLib.core.volume import CTVolume

from .exported import compare_exported
from .findings import OLDER, Verification, check_seal, check_versions, differing
from .inputs import check_input, find_inputs

# Largest difference of a voxel, HU, that counts as the same result. Filters and one and the same backend differ in the last
# digits of a float32 only; two backends as far as a model's card allows each of them on its conformance vectors.
SAME_COMPUTATION_HU, OTHER_BACKEND_HU = 0.01, CONFORMANCE_HU
# The mean over the volume has to be this much smaller.
MEAN_SHARE = 0.1
# Parameters and indices are recorded with three digits behind the point, of which the last may fall to either side.
PARAMETERS_WITHIN = (1e-3, 2e-3)
# Of the record's content, what describes the run and not the result.
_NOT_COMPARED = {
    *("manifest_version", "kind", "use", "version", "versions", "platform", "made_at", "record_sha256", "seconds"),
    *("input", "output", "volume_file", "backend", "device", "device_reason", "precision", "batch", "tile"),
    *("warnings", "model_label", "ensemble", "override", "python", "numpy"),
}


@dataclass(frozen=True)
class Choices:
    """What the user gives for a verification.

    Attributes:
        inputs: files or folders of the input volumes.
        model: folder of the model, if it is not installed.
        device: where to compute; "auto" for the device on record if it is here.
        mask: lung mask that was supplied, for a measurement.
    """

    inputs: tuple[Path, ...] = ()
    model: Path | None = None
    device: Device = "auto"
    mask: Path | None = None


def verify_normalization(record: Mapping[str, Any], path: Path, choices: Choices, progress: Progress) -> Verification:
    """Normalize the recorded input again and compare.

    Args:
        record: content of ``path``.
        path: the record's file; the normalized volume is sought beside it.
        choices: of the user.
        progress: told of every slice.

    Raises:
        InputError: the input was not found or cannot be read, or the record's method or model is not here.
        ModelError: the model is damaged.
        Cancelled: the user stopped.
    """
    found = Verification()
    facts = record.get("input")
    if not isinstance(facts, Mapping):
        raise InputError(f"{path.name} names no input; it is no record of a normalization.")
    check_seal(record, found)
    (item,) = find_inputs([facts], path.parent, choices.inputs)
    is_input = check_input(facts, item, found)
    written = _written_volume(record, path, found)
    check_versions(record, record.get("backend"), found)
    if not is_input or not _check_model(record, choices, found):
        found.note("voxels", "Nothing was computed again: from another input or with another model the result must differ.")
        return found
    told = facts.get("kernel_told_by_user")
    normalizer = _normalizer(record, choices, found)
    # records without a gate were made before there was one
    overridden = bool((record.get(GATE_KEY) or {"overridden": True}).get("overridden"))
    again = normalize_gated(
        normalizer, with_told_kernel(item.volume, None if told is None else str(told)), progress, overridden
    )
    _compare_voxels(record, written, again, found)
    _compare_parameters(record, again.record, found)
    if has_dicom_mark(path):
        same = recorded_voxels(record) == recorded_voxels(again.record)
        compare_exported(path, again.volume, same, tolerance_hu(record, again.record)[0], found)
    return found


def tolerance_hu(record: Mapping[str, Any], again: Mapping[str, Any]) -> tuple[float, str]:
    """How far a voxel may be off, HU, and why: by what computed then and now."""
    keys = ("backend", "device", "precision")
    if "backend" not in record and "backend" not in again:
        return SAME_COMPUTATION_HU, "a filter, without a network"
    then, now = ([str(told.get(key, "?")) for key in keys] for told in (record, again))
    if then == now:
        return SAME_COMPUTATION_HU, f"{' '.join(now)}, as on record"
    return OTHER_BACKEND_HU, f"{' '.join(then)} then, {' '.join(now)} now"


def _written_volume(record: Mapping[str, Any], path: Path, found: Verification) -> CTVolume | None:
    """The volume beside the record, after saying whether it is the one that was written; ``None`` if it is not there."""
    output = record.get("output") or {}
    file = _volume_of_record(path, Path(str(output.get("file") or record.get(VOLUME_FILE_KEY) or "")).name)
    name = file.name
    if not name or not file.is_file():
        found.note(
            "volume", f"The volume {plain(name) or '(not named)'} is not beside the record, so only hashes are compared."
        )
        return None
    volume, expected = read_volume(file), recorded_voxels(record)
    if expected is None:
        found.note("volume", f"Whether {plain(name)} was changed is not known: there is no hash of it; {OLDER}.")
    elif voxels_sha256(volume.hu) != expected:
        found.differs("volume", f"{plain(name)} was changed or replaced after it was written: its voxels have another hash.")
    elif output.get("file_sha256") not in (None, sha256_of(file)):
        found.note("volume", f"{plain(name)} was written anew by another program; its voxels are those on record.")
    else:
        found.agrees("volume", f"{plain(name)} is the file that was written.")
    return volume


def _volume_of_record(path: Path, recorded: str) -> Path:
    """The volume that a record lies beside by its name, which is not the recorded one if either was renamed or exchanged."""
    file = path.with_name(recorded) if recorded else path.parent / ""
    if recorded and provenance_path(file) == path and file.is_file():
        return file
    stem = path.name.removesuffix(RECORD_SUFFIX)
    beside = (path.with_name(name) for name in (stem, *(stem + suffix for suffix in VOLUME_SUFFIXES)) if name != path.name)
    return next((other for other in beside if other.name.lower().endswith(VOLUME_SUFFIXES) and other.is_file()), file)


def _check_model(record: Mapping[str, Any], choices: Choices, found: Verification) -> bool:
    expected = record.get("model_sha256")
    if expected is None:
        return True
    model = load_model(choices.model or str(record.get("model")))
    texts = (
        f"The model {model.id} is the one on record: its weights have the same SHA-256.",
        f"The model {model.id} that is here has other weights than the one on record (SHA-256 {model.sha256[:12]}… here, "
        f"{str(expected)[:12]}… on record); give the right folder with --model.",
    )
    return found.check("model", model.sha256 == expected, texts)


def _normalizer(record: Mapping[str, Any], choices: Choices, found: Verification) -> Normalizer:
    method = cast(Method, record.get("method_asked_for") or record.get("method"))
    model = (choices.model or str(record["model"])) if method == "unet" and "model" in record else None
    recorded = cast(Device, record.get("device", "auto"))
    if choices.device != "auto":
        return create_normalizer(method, model=model, device=choices.device)
    try:
        return create_normalizer(method, model=model, device=recorded)
    except InputError:
        if recorded in ("auto", "cpu"):
            raise
        found.note("device", f"The device on record, {plain(str(recorded))}, is not here; another one computed.")
        return create_normalizer(method, model=model)


def _compare_voxels(
    record: Mapping[str, Any], written: CTVolume | None, again: NormalizationResult, found: Verification
) -> None:
    limit, why = tolerance_hu(record, again.record)
    found.numbers.update(tolerance_hu=limit, tolerance_because=why)
    if written is not None and (written.shape != again.volume.shape or not written.geometry.matches(again.volume.geometry)):
        found.differs(
            "voxels", "The volume's file has another shape, or lies in another place, than the volume computed again."
        )
        return
    if recorded_voxels(record) == recorded_voxels(again.record):
        found.numbers.update(largest_difference_hu=0.0, mean_difference_hu=0.0)
        found.agrees("voxels", "Computed again, every voxel is the same to the last bit.")
        return
    if written is None:
        found.differs("voxels", "Computed again, the voxels have another hash; how far they are off needs the volume's file.")
        return
    off = np.abs(again.volume.hu - written.hu)
    largest, mean = float(off.max()), float(off.mean(dtype=np.float64))
    found.numbers.update(largest_difference_hu=largest, mean_difference_hu=mean)
    text = (
        f"Computed again, the voxels differ by at most {largest:.3g} HU, {mean:.2g} HU in the mean; allowed are {limit:g} and "
        f"{MEAN_SHARE * limit:g} HU ({why})."
    )
    found.check("voxels", largest <= limit and mean <= MEAN_SHARE * limit, (text, text))


def _compare_parameters(record: Mapping[str, Any], again: Mapping[str, Any], found: Verification) -> None:
    now = {key: value for key, value in again.items() if key not in _NOT_COMPARED}
    then = {key: value for key, value in record.items() if key not in _NOT_COMPARED}
    ei_then, ei_now = ((told.get(HYPOTHESES_KEY) or {}).get("ei_percent") for told in (record, again))
    if ei_now is not None and ei_then is not None:
        found.numbers.update(ei_percent_recorded=ei_then, ei_percent_again=ei_now)
        text = f"EI on the sampled slices: {ei_then:.2f} % on record, {ei_now:.2f} % computed again."
        found.check("EI", abs(ei_then - ei_now) <= PARAMETERS_WITHIN[1], (text, text))
    places = list(differing(then, now, PARAMETERS_WITHIN))
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    texts = (
        "The parameters that the scan gave (kernel, floor, restoration) are the same.",
        f"Parameters differ: {'; '.join(places[:3])}{more}.",
    )
    found.check("parameters", not places, texts)
