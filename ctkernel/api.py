"""The functions of the Python package; ``import ctkernel`` provides them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from EmphysemaQuantLib.core.lungs import segmentation
from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.lungs.supplied_mask import mask_from_labels
from EmphysemaQuantLib.core.results import measurement
from EmphysemaQuantLib.core.results.measurement import Measurement, MeasurementSettings
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import write_result
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
from KernelNormalizationLib.core.methods.gate import normalize_gated
from KernelNormalizationLib.core.methods.protocol import Method, NormalizationResult
from KernelNormalizationLib.core.methods.registry import chosen_method, create_normalizer
from KernelNormalizationLib.core.network.backends import Device
from KernelNormalizationLib.core.progress import Progress, ProgressCallback, ProgressTracker
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.volume import Acquisition, CTVolume, Geometry

Source = CTVolume | NormalizationResult | str | Path
# A Progress object, or a function that receives every step.
Watcher = Progress | ProgressCallback | None


def read(path: str | Path, series: str | None = None) -> CTVolume:
    """Read a chest CT.

    Args:
        path: DICOM folder, one DICOM file of the series, or a ``.nrrd``, ``.nii``, ``.nii.gz`` or ``.mha`` file.
        series: number, kernel or UID of the series, when a DICOM folder holds several.

    Returns:
        HU float32 ``(k, j, i)`` = (slice, row, column) in ``.hu``, spacing in mm in ``.geometry``, kernel in ``.acquisition``.

    Raises:
        InputError: anything that keeps it from being a chest CT in HU.

    >>> import ctkernel
    >>> try:
    ...     ctkernel.read("no/such/folder")
    ... except ctkernel.InputError as error:
    ...     print(error)
    no/such/folder does not exist; give a DICOM folder or a NRRD, NIfTI or MHA file.
    """
    return read_volume(path, series)


def from_array(
    hu: ArrayLike, spacing: Sequence[float], kernel: str | None = None, name: str = "CT", geometry: Geometry | None = None
) -> CTVolume:
    """A chest CT from voxels in memory.

    Args:
        hu: HU ``(k, j, i)`` = (slice, row, column): slices from feet to head, rows from front to back, columns from the
            patient's right to left, unless ``geometry`` says otherwise.
        spacing: mm between voxel centres along (k, j, i).
        kernel: the scan's kernel, such as ``"B80f"``; ``None`` if it is not known.
        name: label for messages and outputs; no patient's name.
        geometry: placement instead of ``spacing`` alone; its spacing must be the same.

    Raises:
        InputError: not three axes, fewer than 8 slices, spacing not positive, or values that are not HU of a chest.

    >>> import ctkernel, numpy
    >>> hu = numpy.full((40, 64, 64), -1000.0)
    >>> hu[:, 16:48, 8:56] = 40.0
    >>> ctkernel.from_array(hu, (5.0, 5.0, 5.0), kernel="B80f")
    CTVolume('CT', 40 x 64 x 64 voxels, 5 x 5 x 5 mm, kernel B80f)
    """
    if len(spacing) != 3:
        raise InputError(f"The spacing has {len(spacing)} numbers; give mm along slice, row and column.")
    k_mm, j_mm, i_mm = (float(mm) for mm in spacing)
    if geometry is not None and not np.allclose(geometry.spacing, (k_mm, j_mm, i_mm)):
        raise InputError(f"The spacing {tuple(spacing)} mm is not that of the geometry, {geometry.spacing} mm; give the same.")
    placed = geometry if geometry is not None else Geometry((k_mm, j_mm, i_mm))
    return CTVolume(np.asarray(hu, dtype=np.float32), placed, Acquisition(kernel=kernel), name=name)


def simulated_chest(seed: int = 1, shape: tuple[int, int, int] = (24, 208, 208)) -> CTVolume:
    """A small simulated chest with emphysema on the kernel B80f, 240 x 333 x 333 mm, to try things on.

    Args:
        seed: the same seed gives the same voxels.
        shape: number of slices, rows and columns.

    >>> import ctkernel
    >>> ctkernel.simulated_chest()
    CTVolume('simulated chest B80f', 24 x 208 x 208 voxels, 10 x 1.6 x 1.6 mm, kernel B80f)
    """
    k, j, i = shape
    return make_sample(seed, shape, (240.0 / k, 332.8 / j, 332.8 / i)).sharp


def normalize(
    volume: CTVolume | str | Path,
    kernel: str | None = None,
    method: Method | None = None,
    progress: Watcher = None,
    model: str | Path | None = None,
    device: Device = "auto",
) -> NormalizationResult:
    """Make the smooth-kernel (B20f) volume of a sharp-kernel scan; the scan itself is not changed.

    Args:
        volume: the scan, or the path to read it from.
        kernel: the scan's kernel, such as ``"B70f"``, if the header is wrong; ``"noise"`` estimates it from the noise.
        method: "restored" (the default), "unet" (a network; the default where ``model`` is given), "linear", "bands" or
            "heuristic".
        progress: function that is told of every step (a ``ProgressReport``), or a ``Progress``.
        model: name or folder of a model, for "unet" only; the default model if ``None``.
        device: "auto", "cpu", "cuda" or "mps".

    Returns:
        ``.volume``, marked as synthetic, and ``.record``: method, model, versions and warnings.

    Raises:
        InputError: the scan, the kernel, the method or the device cannot be used.
        ModelError: the model cannot be used.
        Cancelled: ``progress`` asked to stop.

    >>> import ctkernel
    >>> result = ctkernel.normalize(ctkernel.simulated_chest(), method="linear")
    >>> result.volume.name, result.volume.acquisition.kernel
    ('simulated chest B80f B20f (synthetic)', 'B20f (synthetic)')
    >>> result.record["method"]
    'linear'
    """
    method = chosen_method(method, model)
    scan = _volume(volume)
    told = scan if kernel is None else with_told_kernel(scan, kernel)
    chosen = None if model is None else str(model)
    return normalize_gated(create_normalizer(method, model=chosen, device=device), told, _progress(progress))


def segment_lungs(volume: Source, smooth: Source | None = None, progress: Watcher = None) -> LungMask:
    """Segment both lungs without trachea and bronchi.

    Args:
        volume: the scan as reconstructed (not the normalized volume).
        smooth: its normalized volume, if there is one: the bronchi are followed further on it.
        progress: function that is told of every step, or a ``Progress``.

    Returns:
        ``.labels`` uint8 ``(k, j, i)``: 1 right, 2 left lung; ``.quality`` says whether to trust the mask, and why not.

    Raises:
        LungNotFoundError: nothing looks like lung.
        Cancelled: ``progress`` asked to stop.

    >>> import ctkernel
    >>> mask = ctkernel.segment_lungs(ctkernel.simulated_chest())
    >>> mask.labels.shape
    (24, 208, 208)
    """
    return segmentation.segment_lungs(_volume(volume), _progress(progress), None if smooth is None else _volume(smooth))


def measure(
    volumes: Source | Sequence[Source],
    mask: LungMask | NDArray[np.integer[Any]] | str | Path | None = None,
    settings: MeasurementSettings | None = None,
    progress: Watcher = None,
) -> Measurement:
    """Measure emphysema, with the same numbers as panel and command line.

    Args:
        volumes: one volume, or an original and its normalized volume on the same grid, in either order: volumes, paths, or
            what :func:`normalize` returned (which also gives the interval of the normalized EI).
        mask: lung mask; a label array ``(k, j, i)`` or label file (1 right, 2 left, or the numbering of a known tool); ``None``
            segments the lungs of the original.
        settings: threshold (HU), thirds, and the patient for a predicted lung volume.
        progress: function that is told of every step, or a ``Progress``.

    Returns:
        ``.volumes`` with ``.whole.ei_percent`` (%), ``.whole.ev_ml``, ``.whole.tlv_ml`` (mL), ``.whole.perc15_hu`` (HU),
        ``.interval`` and so on for each volume, the original first; ``.agreement`` of two volumes; ``.lung_mask``.

    Raises:
        InputError: the volumes do not share one grid, the mask cannot be used, or the threshold is out of range.
        LungNotFoundError: nothing looks like lung.
        Cancelled: ``progress`` asked to stop.

    >>> import ctkernel
    >>> scan = ctkernel.simulated_chest()
    >>> found = ctkernel.measure([scan, ctkernel.normalize(scan, method="linear")])
    >>> [volume.kind for volume in found.volumes]
    ['raw', 'normalized']
    >>> found.agreement.delta_ei_points < 0  # noise of the sharp kernel no longer counts as emphysema
    True
    """
    given = [volumes] if isinstance(volumes, CTVolume | NormalizationResult | str | Path) else list(volumes)
    read_in = {_volume(source): _record(source) for source in given}
    if len(read_in) < len(given):
        raise InputError("Both volumes are the same; give another second volume, or none.")
    scans = measurement.original_first(list(read_in))
    if isinstance(mask, str | Path):
        mask = read_mask(scans[0], mask)
    elif mask is not None and not isinstance(mask, LungMask):
        mask = mask_from_labels(scans[0], np.asarray(mask))
    records = {volume: record for volume, record in read_in.items() if record}
    return measurement.measure(scans, mask, settings, records, _progress(progress))


def write(content: CTVolume | NormalizationResult | Measurement, path: str | Path, report: bool = False) -> Path:
    """Write a volume to a file, or a measurement to a folder.

    Args:
        content: a volume; a normalization (its record is written beside the volume); or a measurement (segmentation,
            ``metrics.json`` and ``metrics.csv``, as the command line writes them).
        path: ``.nrrd``, ``.nii``, ``.nii.gz`` or ``.mha`` file for a volume, folder for a measurement (made if need be).
        report: also write the report of a measurement, as PDF and web page.

    Returns:
        The path.

    Raises:
        InputError: the path cannot be written.

    >>> import ctkernel, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> ctkernel.write(ctkernel.simulated_chest(), f"{folder}/scan.nrrd").name
    'scan.nrrd'
    >>> ctkernel.read(f"{folder}/scan.nrrd")
    CTVolume('scan', 24 x 208 x 208 voxels, 10 x 1.6 x 1.6 mm, kernel B80f)
    """
    target = Path(path)
    if isinstance(content, CTVolume):
        write_volume(content, target)
    elif isinstance(content, NormalizationResult):
        write_result(content, target)
    elif isinstance(content, Measurement):
        from ctkernel.quantification_files import write_measurement_set

        write_measurement_set(content, target, report)
    else:
        raise InputError(f"A {type(content).__name__} cannot be written; give a volume, a normalization or a measurement.")
    return target


def _volume(source: Source) -> CTVolume:
    if isinstance(source, CTVolume):
        return source
    if isinstance(source, NormalizationResult):
        return source.volume
    if isinstance(source, str | Path):
        return read_volume(source)
    raise InputError(f"A {type(source).__name__} is no volume; give a path, or make one with ctkernel.from_array(hu, spacing).")


def _record(source: Source) -> dict[str, Any]:
    from ctkernel.quantification_files import read_provenance

    if isinstance(source, NormalizationResult):
        return source.record
    return read_provenance(Path(source)) if isinstance(source, str | Path) else {}


def _progress(watcher: Watcher) -> Progress:
    if watcher is None:
        return ProgressTracker()
    return ProgressTracker(watcher) if callable(watcher) else watcher
