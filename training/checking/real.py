"""Checks on real scans: a kernel pair of another maker, a Siemens B70f chest, kernel pairs of a phantom, smooth slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from EmphysemaQuantLib.core.indices.agreement import compare_volumes
from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from EmphysemaQuantLib.core.lungs.segmentation import LungMask, segment_lungs
from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_series import acquisition_of, read_header
from KernelNormalizationLib.core.io.reading import geometry_of, read_volume
from KernelNormalizationLib.core.kernels.noise_sharpness import high_passed, homogeneous_tissue
from KernelNormalizationLib.core.volume import MINIMUM_SLICES, CTVolume

from .outcomes import Findings, Methods, Outcome, Skipped, normalized
from .panels import Panel
from .stability import SMOOTH_CHECK, TWICE_CHECK, Scan, mirrored_order

PAIR, CHEST, PHANTOM, SLICES = "lung-dx-a0001-philips", "cptac-c3n00247-siemens/sharp_B70f", "phantom-toshiba", "cip-two-slices"
PAIR_CHECK, CHEST_CHECK, PHANTOM_CHECK = "real pair of another maker", "real B70f chest", "real phantom pairs"
PAIR_L1_PERCENT, PAIR_EI_POINTS = 50.0, 1.0
CHEST_EI_PERCENT, CHEST_TISSUE_HU, CHEST_NOISE_PERCENT, GEOMETRY_MM = 1.0, 2.0, 25.0, 1e-6
PHANTOM_HU = 3.0
PHANTOM_PADDING_HU = -2048.0
# Edges of the smooth image are where its gradient after a Gaussian blur of 1.5 pixels exceeds this limit, dilated by 3 pixels.
# Noise (SD 18 to 30 HU in flat soft tissue) stays below the limit; the borders of inserts exceed it.
EDGE_SIGMA, EDGE_HU_PER_MM, EDGE_PIXELS = 1.5, 20.0, 3
BODY_HU, LUNG_HU, BONE_HU = -500.0, -700.0, 200.0
FEWEST_VOXELS = 200

Show = Callable[[Panel], None]


@dataclass(frozen=True)
class Stack:
    """Single slices stacked to a volume.

    Attributes:
        sharp, smooth: volumes of at least eight slices, extended by mirroring.
        slices: number of slices that are not mirrored.
    """

    sharp: CTVolume
    smooth: CTVolume
    slices: int


def pair_of_another_maker(methods: Methods, real: Path, show: Show) -> Findings:
    """Philips L to B: the error in the lungs is at least halved, and EI is right within one percentage point."""
    folder = real / PAIR
    if not folder.is_dir():
        yield Skipped(PAIR_CHECK, f"{folder} is not there")
        return
    sharp, smooth = read_volume(folder / "sharp_L"), read_volume(folder / "soft_B")
    lungs = segment_lungs(smooth)
    raw = compare_volumes(smooth, sharp, lungs)
    images = {"L (original)": sharp.hu}
    for label, normalizer in methods.items():
        made = normalized(normalizer, sharp)
        images[label] = made.hu
        found = compare_volumes(smooth, made, lungs)
        share = 100.0 * found.l1_lung_hu / raw.l1_lung_hu
        case = f"L1 in the lungs, share of raw ({raw.l1_lung_hu:.1f} HU)"
        yield Outcome(PAIR_CHECK, case, label, share, "%", PAIR_L1_PERCENT)
        case = f"EI error (B {raw.reference_ei_percent:.2f} %, raw {raw.delta_ei_points:+.2f})"
        yield Outcome(PAIR_CHECK, case, label, found.delta_ei_points, "points", PAIR_EI_POINTS, "within")
    show(Panel("philips_L_to_B", images, smooth.hu, "B (original)", lungs.mask))


def b70f_chest(methods: Methods, real: Path, show: Show) -> Findings:
    """Siemens B70f without evident emphysema: EI near zero, mean of tissue kept, less noise in the lungs, same geometry."""
    folder = real / CHEST
    if not folder.is_dir():
        yield Skipped(CHEST_CHECK, f"{folder} is not there")
        return
    scan = read_volume(folder)
    lungs = segment_lungs(scan)
    tissue = homogeneous_tissue(scan.hu)
    noise = float(high_passed(scan.hu)[lungs.mask].std())
    images = {}
    for label, normalizer in methods.items():
        made = normalized(normalizer, scan)
        images[label] = made.hu
        case = f"EI (raw {_index(scan, lungs):.2f} %)"
        yield Outcome(CHEST_CHECK, case, label, _index(made, lungs), "%", CHEST_EI_PERCENT)
        moved = float((made.hu - scan.hu)[tissue].mean(dtype=np.float64))
        yield Outcome(CHEST_CHECK, "mean of soft tissue (0 to 80 HU) moved", label, moved, "HU", CHEST_TISSUE_HU, "within")
        less = 100.0 * (1.0 - float(high_passed(made.hu)[lungs.mask].std()) / noise)
        case = f"noise in the lungs less (raw SD {noise:.0f} HU)"
        yield Outcome(CHEST_CHECK, case, label, less, "%", CHEST_NOISE_PERCENT, "at least")
        off = float(np.abs(made.geometry.ijk_to_lps - scan.geometry.ijk_to_lps).max())
        yield Outcome(CHEST_CHECK, "geometry", label, off, "mm", GEOMETRY_MM)
    show(Panel("siemens_B70f", images, scan.hu, "B70f (original)", lungs.mask))


def phantom_pairs(methods: Methods, real: Path, show: Show) -> Findings:
    """Toshiba FC51 to FC13: away from edges, the mean of every material agrees with the smooth series."""
    folder = real / PHANTOM
    if not folder.is_dir():
        yield Skipped(PHANTOM_CHECK, f"{folder} is not there")
        return
    stack = read_stack(folder)
    smooth = stack.smooth.hu[: stack.slices]
    materials = flat_materials(stack.smooth)
    images = {"FC51 (original)": stack.sharp.hu}
    for label, normalizer in methods.items():
        made = normalized(normalizer, stack.sharp)
        images[label] = made.hu
        difference = made.hu[: stack.slices] - smooth
        for name, where in materials.items():
            judged = [(d, w) for d, w in zip(difference, where[: stack.slices], strict=True) if w.sum() >= FEWEST_VOXELS]
            means = [float(d[w].mean(dtype=np.float64)) for d, w in judged]
            if means:
                worst = max(means, key=abs)
                case = f"{name}, worst of {len(means)} slices"
                yield Outcome(PHANTOM_CHECK, case, label, worst, "HU", PHANTOM_HU, "within")
    show(Panel("toshiba_FC51_to_FC13", images, stack.smooth.hu, "FC13 (original)"))


def read_stack(folder: Path) -> Stack:
    """Read the slices of the phantom with both kernels; each series is stacked and extended by mirroring to eight slices.

    Raises:
        InputError: a slice has no partner, or there is no slice.
    """
    names = sorted(path.relative_to(folder / "soft_kernel") for path in (folder / "soft_kernel").rglob("*.DCM"))
    missing = [str(name) for name in names if not (folder / "sharp_kernel" / name).is_file()]
    if not names or missing:
        raise InputError(f"{folder} lacks {', '.join(missing) or 'soft_kernel/*.DCM'}; copy the data again.")
    sharp, smooth = (_stacked([folder / series / name for name in names]) for series in ("sharp_kernel", "soft_kernel"))
    return Stack(sharp, smooth, len(names))


def smooth_real_scans(real: Path) -> Iterator[Scan | Skipped]:
    """Real scans of smooth kernels: the Philips B series, and two smooth slices with labels of their lungs."""
    if (real / PAIR).is_dir():
        volume = read_volume(real / PAIR / "soft_B")
        yield Scan("Philips B", volume, segment_lungs(volume).mask)
    else:
        yield Skipped(SMOOTH_CHECK, f"{real / PAIR} is not there")
    if not (real / SLICES).is_dir():
        yield Skipped(SMOOTH_CHECK, f"{real / SLICES} is not there")
        return
    image = sitk.ReadImage(str(real / SLICES / "crop_ct_2slices.nrrd"))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(real / SLICES / "crop_ct_2slices_dcnnLungSegmentationLabelmap.nrrd")))
    order = mirrored_order(len(labels))
    volume = CTVolume(sitk.GetArrayFromImage(image).astype(np.float32)[order], geometry_of(image), name="two smooth slices")
    yield Scan(f"two smooth slices mirrored to {MINIMUM_SLICES}", volume, labels[order] > 0)


def middle_of_b70f(real: Path, slices: int) -> Scan | Skipped:
    """The middle ``slices`` of the B70f chest."""
    folder = real / CHEST
    if not folder.is_dir():
        return Skipped(TWICE_CHECK, f"{folder} is not there")
    scan = read_volume(folder)
    first = max(0, (scan.shape[0] - slices) // 2)
    part = slice(first, first + slices)
    return Scan("real B70f", replace(scan, hu=scan.hu[part]), segment_lungs(scan).mask[part])


def flat_materials(smooth: CTVolume) -> dict[str, BoolArray]:
    """For each material of the phantom a mask of its voxels away from edges, boolean (k, j, i).

    Args:
        smooth: the smooth series.
    """
    blurred = ndimage.gaussian_filter(smooth.filled(), (0.0, EDGE_SIGMA, EDGE_SIGMA))
    gradient = np.hypot(*np.gradient(blurred, *smooth.geometry.spacing[1:], axis=(1, 2)))
    size = 2 * EDGE_PIXELS + 1
    flat = ~ndimage.maximum_filter((gradient > EDGE_HU_PER_MM) | smooth.padding_mask, (1, size, size))
    inside = np.stack([ndimage.binary_fill_holes(plane > BODY_HU) for plane in blurred])
    return {
        "air outside": flat & ~inside,
        "lung insert": flat & inside & (blurred < LUNG_HU),
        "soft tissue": flat & inside & (blurred >= LUNG_HU) & (blurred < BONE_HU),
        "bone-like": flat & inside & (blurred >= BONE_HU),
    }


def _stacked(files: list[Path]) -> CTVolume:
    header = read_header(files[0])
    if header is None:
        raise InputError(f"{files[0].name} is not DICOM; copy the data again.")
    images = [sitk.ReadImage(str(file)) for file in files]
    hu = np.concatenate([sitk.GetArrayFromImage(image) for image in images]).astype(np.float32)
    facts = acquisition_of(header)
    return CTVolume(hu[mirrored_order(len(hu))], geometry_of(images[0]), facts, PHANTOM_PADDING_HU, f"phantom {facts.kernel}")


def _index(volume: CTVolume, lungs: LungMask) -> float:
    """EI, %."""
    return 100.0 * float(np.count_nonzero(emphysema_mask(volume.hu, lungs.mask))) / float(np.count_nonzero(lungs.mask))
