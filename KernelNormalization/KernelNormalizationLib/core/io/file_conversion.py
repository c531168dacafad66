"""Normalization of a file into a file, as called by the command line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..kernels.contradiction import kernel_contradiction
from ..kernels.told_kernel import parse_told_kernel, with_told_kernel
from ..methods.gate import normalize_gated
from ..methods.protocol import Method, NormalizationResult
from ..methods.registry import chosen_method, create_normalizer
from ..network.backends import Device
from ..progress import Progress, ProgressTracker
from ..provenance.manifest import sealed, with_file
from ..suitability import assess
from .json_file import read_json
from .reading import VOLUME_SUFFIXES, read_volume
from .whole_sets import require_set_writable, whole_set
from .writing import require_not_input, require_writable, write_json, write_volume

logger = logging.getLogger(__name__)

__all__ = ["Choices", "create_normalizer", "normalize_file", "provenance_path", "write_result"]

# Key of the provenance record: name of the volume's file beside it.
VOLUME_FILE_KEY = "volume_file"
RECORD_SUFFIX = ".provenance.json"


@dataclass(frozen=True)
class Choices:
    """How a file is normalized, beside the method.

    Attributes:
        model: model identifier or folder, for ``unet`` only.
        device: where the network computes.
        series: which series of a DICOM folder.
        kernel: the scan's kernel (such as ``"B70f"``) if the user knows better than the header; ``"noise"`` to estimate it from
            the noise; ``None`` or ``"header"`` for the header's.
        override_gate: whether a scan that is refused is normalized all the same, which goes on record.
    """

    model: str | Path | None = None
    device: Device = "auto"
    series: str | None = None
    kernel: str | None = None
    override_gate: bool = False


def normalize_file(
    input_path: str | Path,
    output_path: str | Path,
    method: Method | None = None,
    choices: Choices | None = None,
    progress: Progress | None = None,
    more_record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Normalize the scan at ``input_path`` into ``output_path`` and, beside it, a provenance record (``.provenance.json``).

    Args:
        input_path: DICOM folder or file, NRRD, NIfTI or MHA.
        output_path: NRRD, NIfTI or MHA file to write.
        method: normalization method; the default one if ``None``, or the network if a model is chosen.
        choices: model, device, series, kernel and the gate; the defaults if ``None``.
        progress: receives every finished slice.
        more_record: further entries of the provenance record.

    Returns:
        The provenance record.

    Raises:
        InputError: the scan is refused, or the input, the output path, the kernel's name, the method or the model cannot be
            used; nothing is written.
        ModelError: the model cannot be used.
        Cancelled: the user stopped the run; nothing is written.
    """
    input_path, output_path = Path(input_path), Path(output_path)
    choices = choices or Choices()
    parse_told_kernel(choices.kernel)
    method = chosen_method(method, choices.model)
    require_writable(output_path)
    require_set_writable(output_path.parent, (provenance_path(output_path).name,))
    require_not_input(output_path, input_path, "output name")
    volume = with_told_kernel(read_volume(input_path, choices.series), choices.kernel)
    if volume.acquisition.told_kernel is not None:
        contradiction = kernel_contradiction(volume, assess(volume).sharpness)
        if contradiction is not None:
            logger.warning("%s", contradiction)
    normalizer = create_normalizer(method, model=choices.model, device=choices.device)
    result = normalize_gated(normalizer, volume, progress or ProgressTracker(), choices.override_gate)
    return write_result(result, output_path, more_record)


def write_result(result: NormalizationResult, path: Path, more_record: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write a normalized volume and, beside it, its provenance record, as one set: both or neither.

    Returns:
        The record as written; ``volume_file`` names the file that it belongs to.

    Raises:
        InputError: either cannot be written; nothing is changed.
        CTKernelError: writing failed half-way; nothing is changed.
    """
    require_writable(path)
    beside = provenance_path(path)
    require_set_writable(path.parent, (beside.name,))
    with whole_set(path.parent, own_folder=False) as private:
        return write_into_set(result, private / path.name, beside.name, path, more_record)


def write_into_set(
    result: NormalizationResult,
    volume_file: Path,
    record_name: str,
    target: Path | None = None,
    more_record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a normalized volume into the private folder of a set, and beside it the record with the file's hash.

    Args:
        result: what to write.
        volume_file: in the private folder.
        record_name: name of the record's file.
        target: where the volume will be moved, for messages.
        more_record: what else the record shall hold.

    Returns:
        The record as written.
    """
    write_volume(result.volume, volume_file, target)
    told = {**result.record, **(more_record or {}), VOLUME_FILE_KEY: volume_file.name}
    record = sealed(with_file(told, volume_file))
    write_json(record, volume_file.with_name(record_name))
    return record


def provenance_path(volume_path: str | Path) -> Path:
    """Where the provenance record of a written volume lies: ``x.nrrd`` has ``x.provenance.json``, ``x.nii.gz`` too.

    Where that record belongs to another volume of the same stem, it is ``x.nii.gz.provenance.json``.
    """
    volume_path = Path(volume_path)
    name = volume_path.name.removesuffix(".gz")
    short = volume_path.with_name(Path(name).stem + RECORD_SUFFIX)
    long = volume_path.with_name(volume_path.name + RECORD_SUFFIX)
    return long if long.is_file() or _belongs_to_another(short, volume_path) else short


def _belongs_to_another(record: Path, volume: Path) -> bool:
    if not record.is_file():
        return False
    try:
        owner = read_json(record).get(VOLUME_FILE_KEY)
    except (InputError, OSError, AttributeError):
        owner = None
    if owner is not None:
        return bool(owner != volume.name and record.with_name(str(owner)).is_file())
    # records of earlier versions name no volume: one belongs to the only volume of its stem
    stem = record.name.removesuffix(RECORD_SUFFIX)
    others = [record.with_name(stem + suffix) for suffix in VOLUME_SUFFIXES if stem + suffix != volume.name]
    return not volume.exists() and any(other.is_file() for other in others)
