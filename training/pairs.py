"""Find reconstructions of one acquisition with different kernels in a DICOM archive: ``python -m training.pairs``.

Pairs are stored in the same form as simulated patients, so that training and evaluation can use both.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import logging
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import CTKernelError, InputError
from KernelNormalizationLib.core.io.dicom_series import Series, find_series, read_series
from KernelNormalizationLib.core.io.reading import volume_from_image
from KernelNormalizationLib.core.kernels.mtf import KERNELS, TARGET_NUMBER, kernel_number
from KernelNormalizationLib.core.kernels.noise_sharpness import estimate_sharpness
from KernelNormalizationLib.core.truncation.hu_floor import detect_floor
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from .data.kernel_pair import KernelPair, PairRecord
from .running.command_line import ends_with_code
from .simulate.kernel_family import SharpKernel
from .simulate.patient import emphysema_index
from .simulate.store import write_manifest, write_patient

logger = logging.getLogger("training.pairs")

POSITION_TOLERANCE_MM = 0.05
# Reconstructions of the same raw data coincide exactly; the estimated shift has an error of a few hundredths of a pixel.
LARGEST_SHIFT_PIXELS = 0.15
# After blurring to 2 mm, images of one acquisition with two kernels are nearly the same: real pairs reach 0.99 and more.
LEAST_CORRELATION = 0.95
BLUR_MM = 2.0
SHIFT_SLICES = 7
_ACQUISITION_TAGS = ["AcquisitionNumber", "AcquisitionDate", "AcquisitionTime", "AcquisitionUID"]


@dataclass(frozen=True)
class Candidate:
    """A series that may be part of a pair.

    Attributes:
        series: its files and headers.
        kernel: ConvolutionKernel of the header, or ``None``.
        positions: sorted slice positions, mm.
        label: name in messages that does not identify the patient.
        acquisition: header values that are equal in all reconstructions of one acquisition.
    """

    series: Series
    kernel: str | None
    positions: tuple[float, ...]
    label: str
    acquisition: tuple[str, ...]


@dataclass(frozen=True)
class Skipped:
    """A series or pair that was not used, with the reason."""

    what: str
    reason: str


@dataclass(frozen=True)
class Pair:
    """Two reconstructions of one acquisition, checked.

    Attributes:
        name: archive folder, acquisition (hashed) and kernels.
        sharp, smooth: the volumes, same geometry.
        shift_pixels: estimated in-plane shift (row, column) of ``sharp`` relative to ``smooth``.
        correlation: correlation of both after blurring to 2 mm.
    """

    name: str
    sharp: CTVolume
    smooth: CTVolume
    shift_pixels: tuple[float, float]
    correlation: float


def find_pairs(archive: Path) -> tuple[list[Pair], list[Skipped]]:
    """Every usable pair below ``archive``, and everything that was skipped.

    If an acquisition has several reconstructions, the one closest to B20f is the partner of all others. The header decides
    which one this is; without a known kernel, the noise does.

    Raises:
        InputError: there is no DICOM image below ``archive``.
    """
    skipped: list[Skipped] = []
    groups: dict[tuple[str, ...], list[Candidate]] = defaultdict(list)
    for uid, series in find_series(archive).items():
        candidate = _candidate(uid, series)
        if isinstance(candidate, Skipped):
            skipped.append(candidate)
        else:
            groups[candidate.acquisition].append(candidate)
    pairs: list[Pair] = []
    for group in groups.values():
        for found in _pairs_of(group, archive.resolve().name):
            (pairs if isinstance(found, Pair) else skipped).append(found)  # type: ignore[arg-type]
    return pairs, skipped


def _candidate(uid: str, series: Series) -> Candidate | Skipped:
    header = series[0].header
    label = f"series {header.get('SeriesNumber', '?')} ({hashlib.sha256(uid.encode()).hexdigest()[:8]})"
    if str(header.get("Modality", "")) != "CT":
        return Skipped(label, f"modality {header.get('Modality', 'unknown')}, not CT")
    kernel = header.get("ConvolutionKernel")
    tag = kernel if isinstance(kernel, str) else (str(kernel[0]) if kernel else None)
    label = f"{label}, kernel {tag or 'unknown'}, {len(series)} slices"
    if "LOCALIZER" in str(header.get("ImageType", "")):
        return Skipped(label, "a scout, not slices")
    try:
        positions = tuple(sorted(s.position for s in series))
    except CTKernelError as error:
        return Skipped(label, str(error))
    extra = pydicom.dcmread(series[0].path, stop_before_pixels=True, specific_tags=_ACQUISITION_TAGS)
    same = ("StudyInstanceUID", "FrameOfReferenceUID")
    acquisition = [str(header.get(n, "")) for n in same] + [str(extra.get(n, "")) for n in _ACQUISITION_TAGS]
    return Candidate(series, tag, positions, label, tuple(acquisition))


def _pairs_of(group: list[Candidate], archive: str) -> list[Pair | Skipped]:
    if len(group) == 1:
        return [Skipped(group[0].label, "no other reconstruction of its acquisition")]
    volumes: list[tuple[Candidate, CTVolume]] = []
    found: list[Pair | Skipped] = []
    for candidate in group:
        try:
            image, acquisition, padding = read_series(candidate.series)
            volume = volume_from_image(image, name=candidate.label, acquisition=acquisition, declared_padding=padding)
        except CTKernelError as error:
            found.append(Skipped(candidate.label, str(error)))
        else:
            volumes.append((candidate, volume))
    if len(volumes) < 2:
        return [*found, *(Skipped(c.label, "its partner cannot be used") for c, _ in volumes)]
    volumes.sort(key=lambda item: _distance_from_target(item[1]))
    (first, smooth), others = volumes[0], volumes[1:]
    for candidate, sharp in others:
        name = f"{archive}/{hashlib.sha256('|'.join(first.acquisition).encode()).hexdigest()[:8]} "
        name += f"{candidate.kernel or 'unknown'} to {first.kernel or 'unknown'}"
        reason = _why_not(candidate, first)
        found.append(Skipped(f"{candidate.label} with {first.label}", reason) if reason else check_pair(name, sharp, smooth))
    return found


def _distance_from_target(volume: CTVolume) -> float:
    number = kernel_number(volume.acquisition.kernel)
    if number is not None:
        return float(abs(number - TARGET_NUMBER))
    sharpness = estimate_sharpness(volume)
    return 1000.0 if sharpness is None else 100.0 - sharpness.rho1


def _why_not(a: Candidate, b: Candidate) -> str | None:
    if a.kernel == b.kernel:
        return f"both have kernel {a.kernel or 'unknown'}"
    if len(a.positions) != len(b.positions):
        return f"{len(a.positions)} and {len(b.positions)} slices"
    worst = max(abs(p - q) for p, q in zip(a.positions, b.positions, strict=True))
    if worst > POSITION_TOLERANCE_MM:
        return f"slice positions differ by up to {worst:.2f} mm"
    return None


def check_pair(name: str, sharp: CTVolume, smooth: CTVolume) -> Pair | Skipped:
    """Check that two volumes have the same geometry, no shift and the same anatomy.

    Args:
        name: name of the pair.
        sharp: the volume with the sharper kernel.
        smooth: its partner.
    """
    if sharp.shape != smooth.shape or not sharp.geometry.matches(smooth.geometry, POSITION_TOLERANCE_MM):
        return Skipped(name, f"geometry differs: {sharp.shape}, {sharp.geometry} and {smooth.shape}, {smooth.geometry}")
    a, b = _blurred(sharp), _blurred(smooth)
    correlation = float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    if correlation < LEAST_CORRELATION:
        return Skipped(name, f"the images differ (correlation {correlation:.3f} after blurring)")
    shift = estimate_shift(a, b)
    if max(abs(s) for s in shift) > LARGEST_SHIFT_PIXELS:
        return Skipped(name, f"shifted by {shift[0]:.2f} rows and {shift[1]:.2f} columns; they must lie on each other")
    return Pair(name, sharp, smooth, shift, correlation)


def _blurred(volume: CTVolume) -> FloatArray:
    chosen = np.linspace(0, volume.shape[0] - 1, SHIFT_SLICES).round().astype(int)
    hu = np.clip(volume.filled()[chosen], -1000.0, 300.0)
    sigma = BLUR_MM / np.asarray(volume.geometry.spacing[1:])
    blurred: FloatArray = ndimage.gaussian_filter(hu, (0.0, float(sigma[0]), float(sigma[1])))
    return blurred


def estimate_shift(moving: FloatArray, fixed: FloatArray) -> tuple[float, float]:
    """In-plane shift (rows, columns) in pixels, positive if ``moving`` lies further down or right.

    It is the median over both gradient images of all slices; each shift is the peak of the cross-correlation, located to a
    fiftieth of a pixel (Guizar-Sicairos et al., Optics Letters 33, 156, 2008).

    Args:
        moving, fixed: float32 (k, rows, columns), already blurred.
    """
    found = [
        phase_cross_correlation(np.gradient(b, axis=axis), np.gradient(a, axis=axis), upsample_factor=50, normalization=None)[0]
        for a, b in zip(moving, fixed, strict=True)
        for axis in (0, 1)
    ]
    rows, columns = -np.median(found, axis=0)
    return float(rows), float(columns)


def resample_slices(volume: CTVolume, distance_mm: float) -> CTVolume:
    """Interpolate linearly to slices every ``distance_mm``, with the same in-plane spacing, as in the paper.

    Raises:
        InputError: ``distance_mm`` is not positive, or the padding differs between slices.
    """
    if distance_mm <= 0.0:
        raise InputError(f"The slice distance is {distance_mm} mm; it must be positive.")
    step = volume.geometry.spacing[0]
    count = int((volume.shape[0] - 1) * step / distance_mm + 1e-6) + 1
    z = np.arange(count) * distance_mm / step
    low = np.minimum(z.astype(int), volume.shape[0] - 2)
    part = (z - low).astype(np.float32)[:, None, None]
    hu = (1.0 - part) * volume.hu[low] + part * volume.hu[low + 1]
    if volume.padding_value is not None:
        padded = volume.padding_mask[low] | volume.padding_mask[low + 1]
        hu = np.where(padded, np.float32(volume.padding_value), hu)
    geometry = Geometry((distance_mm, *volume.geometry.spacing[1:]), volume.geometry.origin, volume.geometry.direction)
    return replace(volume, hu=hu.astype(np.float32), geometry=geometry)


def to_patient(pair: Pair, resample_mm: float | None = None) -> KernelPair:
    """The pair in the form of a simulated patient: integer HU, lung labels and metadata.

    Raises:
        LungNotFoundError: the smooth volume shows no lung.
        InputError: see :func:`resample_slices`.
    """
    sharp, smooth = pair.sharp, pair.smooth
    if resample_mm is not None:
        sharp, smooth = resample_slices(sharp, resample_mm), resample_slices(smooth, resample_mm)
    lung = segment_lungs(smooth).labels
    integers = [np.rint(np.clip(v.hu, -32768, 32767)).astype(np.int16) for v in (sharp, smooth)]
    padding = sharp.padding_value if sharp.padding_value is not None else smooth.padding_value
    kernel, estimated = _kernel_of(sharp)
    floor = detect_floor(sharp.hu, sharp.padding_mask)
    meta: PairRecord = {
        "true_ei": emphysema_index(integers[1], lung),
        "raw_ei": emphysema_index(integers[0], lung),
        "l1_raw": float(np.abs(integers[0].astype(np.float32) - integers[1]).mean()),
        "sharp_kernel": {**kernel.as_meta(), "tag": sharp.acquisition.kernel, "estimated": estimated},
        "smooth_kernel": {"name": smooth.acquisition.kernel or "unknown"},
        "manufacturer": sharp.acquisition.manufacturer,
        "dose": None,
        "floor": {"kind": floor.kind, "value": floor.value},
        "padding": None if padding is None else int(padding),
        "pixel_mm": sharp.geometry.spacing[1],
        "native_slice_mm": pair.sharp.geometry.spacing[0],
        "slice_mm": sharp.geometry.spacing[0],
        "object": pair.name,
        "real_object": True,
        "preset": "pair",
        "shift_pixels": list(pair.shift_pixels),
        "correlation": pair.correlation,
    }
    return KernelPair(integers[0], integers[1], lung, sharp.geometry.spacing, meta)


def _kernel_of(volume: CTVolume) -> tuple[SharpKernel, bool]:
    """The modelled kernel closest to that of the volume, by header or else by noise; and whether it was estimated."""
    number = kernel_number(volume.acquisition.kernel)
    estimated = number is None
    if number is None:
        sharpness = estimate_sharpness(volume)
        number = 60 if sharpness is None else round(sharpness.kernel_number)
    nearest = min(KERNELS, key=lambda n: abs(n - number))
    return SharpKernel(volume.acquisition.kernel or f"B{nearest}f-like", KERNELS[nearest]), estimated


def store_pairs(
    pairs: list[Pair], skipped: list[Skipped], out: Path, parameters: dict[str, Any], resample_mm: float | None
) -> list[Skipped]:
    """Write every pair and the manifest; return the skipped pairs together with those that show no lung."""
    skipped = list(skipped)
    numbers = itertools.count()
    for pair in pairs:
        try:
            patient = to_patient(pair, resample_mm)
        except CTKernelError as error:
            skipped.append(Skipped(pair.name, str(error)))
            continue
        write_patient(out / "patients" / f"pair{next(numbers):04d}.npz", patient)
    write_manifest(out, {**parameters, "skipped": [asdict(s) for s in skipped]})
    return skipped


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        "python -m training.pairs",
        description=(
            "Find pairs in a DICOM archive: the same acquisition and slice positions, reconstructed with different kernels. "
            "Each pair is checked (same geometry, no shift, same anatomy) and stored for training.train and "
            "training.evaluate; what is not used is listed with the reason. No patient name is stored."
        ),
    )
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="folder with DICOM files, searched with its subfolders")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to store the pairs; without it they are only listed")
    parser.add_argument("--resample", type=float, metavar="MM", help="slice distance to resample to (the paper: 1.0)")
    return parser


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when at least one pair was found, 1 when none, 2 for unusable input."""
    args = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not args.archive.is_dir():
        raise InputError(f"{args.archive} is not a folder; give the folder of a DICOM archive.")
    if args.resample is not None and args.resample <= 0:
        raise InputError(f"--resample is {args.resample}; give a slice distance in mm, such as 1.0.")
    pairs, skipped = find_pairs(args.archive)
    if args.out is not None:
        parameters = {"archive": args.archive.resolve().name, "resample_mm": args.resample}
        skipped = store_pairs(pairs, skipped, args.out, parameters, args.resample)
    for pair in pairs:
        logger.info("pair: %s, shift %.2f / %.2f px, correlation %.3f", pair.name, *pair.shift_pixels, pair.correlation)
    for item in skipped:
        logger.info("skipped: %s: %s", item.what, item.reason)
    return 0 if pairs else 1


if __name__ == "__main__":
    sys.exit(main())
