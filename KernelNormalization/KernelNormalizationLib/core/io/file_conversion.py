"""File in, file out: the one call behind the command line and Slicer's background process."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..kernels.noise_sharpness import estimate_sharpness
from ..kernels.told_kernel import parse_told_kernel, with_told_kernel
from ..methods.protocol import Method
from ..methods.registry import create_normalizer
from ..network.backends import Device
from ..progress import Progress, ProgressTracker
from ..suitability import kernel_contradiction
from .reading import read_volume
from .writing import require_writable, write_json, write_volume

logger = logging.getLogger(__name__)

__all__ = ["create_normalizer", "normalize_file", "provenance_path"]


def normalize_file(
    input_path: Path,
    output_path: Path,
    method: Method = "unet",
    model: str | None = None,
    device: Device = "auto",
    progress: Progress | None = None,
    series: str | None = None,
    kernel: str | None = None,
) -> dict[str, Any]:
    """Normalize the scan at ``input_path`` into ``output_path`` and, beside it, a provenance record (``.provenance.json``).

    Args:
        input_path: DICOM folder or file, NRRD, NIfTI or MHA.
        output_path: NRRD, NIfTI or MHA file to write.
        method: normalization method.
        model: model identifier or folder, for ``unet``.
        device: where the network computes.
        progress: told of every finished slice.
        series: which series of a DICOM folder.
        kernel: the scan's kernel (such as ``"B70f"``) if the user knows better than the header; ``"noise"`` to go by the noise
            alone; ``None`` or ``"header"`` for the header's.

    Returns:
        The provenance record.

    Raises:
        InputError: the input, the output path or the kernel's name cannot be used; nothing is written.
        ModelError: the model cannot be used.
        Cancelled: the user stopped the run; nothing is written.
    """
    parse_told_kernel(kernel)
    require_writable(output_path)
    if input_path.is_file() and output_path.exists() and input_path.samefile(output_path):
        raise InputError(f"{output_path} is the input itself; an original is never overwritten. Give another output name.")
    volume = with_told_kernel(read_volume(input_path, series), kernel)
    if volume.acquisition.told_kernel is not None:
        contradiction = kernel_contradiction(volume, estimate_sharpness(volume))
        if contradiction is not None:
            logger.warning("%s", contradiction)
    normalizer = create_normalizer(method, model=model, device=device)
    result = normalizer.normalize(volume, progress or ProgressTracker())
    write_volume(result.volume, output_path)
    write_json(result.record, provenance_path(output_path))
    return result.record


def provenance_path(volume_path: Path) -> Path:
    """Where the provenance record of a written volume lies: ``x.nrrd`` has ``x.provenance.json``, ``x.nii.gz`` too."""
    name = volume_path.name.removesuffix(".gz")
    return volume_path.with_name(Path(name).stem + ".provenance.json")
