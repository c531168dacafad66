"""Checks on phantoms: densities are kept, details have the contrast of B20f, and no structure is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.io.file_conversion import create_normalizer
from KernelNormalizationLib.core.kernels.transfer import find_transfer
from KernelNormalizationLib.core.methods.result import TARGET_FLOOR_HU
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.volume import CTVolume

from ..evaluation.methods import base_and_lost
from ..simulate.sampling import Grid
from .outcomes import Findings, Methods, Outcome, normalized
from .phantoms import (
    LINE_PAIRS_PER_CM,
    LUNG_HU,
    WATER_HU,
    Bench,
    Part,
    as_scan,
    noise_free,
    sharp_noise,
)

KERNELS = (70, 80)
DOSES = (1.0, 0.25)
# Plain truncation, and averaged truncated images as fitted to the outside air of Siemens multi-slice scanners.
CLIPPED = Truncation()
TRUNCATIONS = (CLIPPED, Truncation.of_equal_images(4, 0.24))
MEAN_LIMIT_HU = 1.0
CONTRAST_LIMIT_PERCENT = 5.0
INVENTED_HU = 5.0
# Means are taken within this share of the radius of a cylinder, where its border has no influence.
INSIDE = 0.8
NODULE_CORE_MM, NODULE_AROUND_MM = 1.5, (6.0, 10.0)
# Reach of the network's gate, pixels: its window is 9 x 9 pixels, blurred over 5 x 5.
GATE_REACH = 6
# Tolerance for rounding where the correction of the network is exactly zero.
GATE_LIMIT_HU = 0.01
# An extremum counts as the same if it moved by at most this many pixels; a region larger than the square of twice this is a
# plateau.
SAME_PLACE = 3


def cylinders_keep_their_mean(
    methods: Methods, bench: Bench, kernels: Sequence[int] = KERNELS, doses: Sequence[float] = DOSES
) -> Findings:
    """A uniform water cylinder and a cylinder of lung density keep their mean.

    Args:
        methods: methods to check.
        bench: sizes of the phantoms.
        kernels: numbers of the sharp kernels.
        doses: doses relative to that of the study's mean patient.
    """
    objects = (("water", bench.water, WATER_HU), ("lung density", bench.lung, LUNG_HU))
    for (name, parts, hu), number, dose in product(objects, kernels, doses):
        clean, noise = noise_free(parts, bench, number)[0], sharp_noise(parts, bench, number, dose)
        inside = parts[-1].distance(bench.grid) < INSIDE * parts[-1].radius
        for truncation, (label, normalizer) in product(TRUNCATIONS, methods.items()):
            made = normalized(normalizer, as_scan(clean, bench, number, truncation, noise))
            how = f"{truncation.images} image{'s' if truncation.images > 1 else ''} averaged"
            case = f"{name}, B{number}f, {how}, dose {dose:g}, noise {noise[:, inside].std():.0f} HU"
            moved = float(made.hu[:, inside].mean(dtype=np.float64)) - hu
            yield Outcome("cylinder keeps its mean", case, label, moved, "HU", MEAN_LIMIT_HU, "within")


def detail_keeps_its_contrast(methods: Methods, bench: Bench, kernels: Sequence[int] = KERNELS, repeats: int = 2) -> Findings:
    """Line pairs of 1 mm and a nodule of 5 mm have the contrast of the noise-free B20f image, without and with noise.

    Args:
        methods: methods to check.
        bench: sizes of the phantoms.
        kernels: numbers of the sharp kernels.
        repeats: number of noisy volumes that are averaged.
    """
    parts = (*bench.lung, bench.nodule, bench.lung_lines, bench.tissue_lines)
    for number in kernels:
        sharp, smooth = noise_free(parts, bench, number)
        truth = contrasts(smooth, bench)
        clean = as_scan(sharp, bench, number, CLIPPED)
        noise = (sharp_noise(parts, bench, number, 1.0, seed) for seed in range(repeats))
        noisy = [as_scan(sharp, bench, number, CLIPPED, one) for one in noise]
        for (how, scans), (label, normalizer) in product((("no noise", [clean]), ("noise averaged", noisy)), methods.items()):
            image = np.mean([normalized(normalizer, scan).hu.mean(axis=0) for scan in scans], axis=0)
            for name, contrast in contrasts(image, bench).items():
                change = 100.0 * (contrast / truth[name] - 1.0)
                case = f"{name}, B{number}f, {how}"
                yield Outcome("contrast as B20f", case, label, change, "%", CONTRAST_LIMIT_PERCENT, "within")


def contrasts(image: FloatArray, bench: Bench) -> dict[str, float]:
    """HU contrast of the nodule and amplitudes of the line pairs in a slice (rows, columns)."""
    distance = bench.nodule.distance(bench.grid)
    around = (distance > NODULE_AROUND_MM[0]) & (distance < NODULE_AROUND_MM[1])
    nodule = float(image[distance < NODULE_CORE_MM].mean(dtype=np.float64) - image[around].mean(dtype=np.float64))
    return {
        "nodule 5 mm in lung": nodule,
        "line pair 1 mm in lung": line_amplitude(image, bench.lung_lines, bench.grid),
        "line pair 1 mm in tissue": line_amplitude(image, bench.tissue_lines, bench.grid),
    }


def line_amplitude(image: FloatArray, lines: Part, grid: Grid) -> float:
    """Amplitude (HU) of the wave of 5 lp/cm along x inside ``lines``, by least squares."""
    inside = lines.distance(grid) < 0.7 * lines.radius
    x = np.broadcast_to(grid.axes()[1][None, :], inside.shape)[inside].astype(np.float64)
    phase = 2.0 * np.pi * LINE_PAIRS_PER_CM / 10.0 * x
    basis = np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)], axis=1)
    fitted = np.linalg.lstsq(basis, image[inside].astype(np.float64), rcond=None)[0]
    return float(np.hypot(fitted[1], fitted[2]))


def nothing_is_invented(methods: Methods, bench: Bench) -> Findings:
    """In noise-free images of a lung with a nodule, no extremum of more than 5 HU appears that the B20f image does not have.

    If the transfer that the product assumes differs from the scanner's, edges show overshoot. A second value therefore leaves
    out extrema that the product's linear transfer shows as well.
    """
    linear = create_normalizer("linear")
    parts = (*bench.lung, bench.nodule)
    for number in KERNELS:
        sharp, smooth = noise_free(parts, bench, number)
        scan = as_scan(sharp, bench, number, CLIPPED)
        base = normalized(linear, scan).hu[0]
        for label, normalizer in methods.items():
            made = normalized(normalizer, scan).hu[0]
            for shown, truths in (("B20f does not show", (smooth,)), ("neither B20f nor linear shows", (smooth, base))):
                case = f"largest extremum that {shown}, B{number}f"
                yield Outcome("no invented structure", case, label, invented_extremum(made, *truths), "HU", INVENTED_HU)


def invented_extremum(image: FloatArray, *truths: FloatArray) -> float:
    """Difference between ``image`` and ``truths``, HU, at an extremum that none of the truths has; 0 if there is none.

    An extremum differs from its surroundings by 5 HU or more. Two small extrema are the same if they are at most 3 pixels
    apart. On a plateau of the truth, the image must lie within 5 HU of it, because a dent in a flat region is new.

    Args:
        image: (rows, columns), HU.
        truths: one or more images of the same shape.
    """
    return max(_new_maximum(sign * image, [sign * truth for truth in truths]) for sign in (np.float32(1.0), np.float32(-1.0)))


def _new_maximum(image: FloatArray, truths: Sequence[FloatArray]) -> float:
    known = np.logical_or.reduce([_known_maxima(image, truth) for truth in truths])
    departure = np.min([np.abs(image - truth) for truth in truths], axis=0)
    found, number = ndimage.label(_maxima(image))
    unknown = [n for n in range(1, number + 1) if not known[found == n].any()]
    return float(departure[np.isin(found, unknown)].max()) if unknown else 0.0


def _known_maxima(image: FloatArray, truth: FloatArray) -> BoolArray:
    """Maxima of ``image`` that ``truth`` has as well, as a mask."""
    labels, count = ndimage.label(_maxima(truth))
    sizes = ndimage.sum_labels(np.ones_like(truth), labels, np.arange(count + 1))
    small = (labels > 0) & (sizes[labels] <= (2 * SAME_PLACE) ** 2)
    same = ndimage.binary_dilation(small, np.ones((2 * SAME_PLACE + 1,) * 2, bool))
    known: BoolArray = same | ((labels > 0) & ~small & (np.abs(image - truth) <= INVENTED_HU))
    return known


def _maxima(image: FloatArray) -> BoolArray:
    levelled = sitk.HMaxima(sitk.GetImageFromArray(image.astype(np.float32)), height=INVENTED_HU)
    result: BoolArray = sitk.GetArrayFromImage(sitk.RegionalMaxima(levelled)) > 0
    return result


def off_truncation_is_the_base(methods: Methods, volumes: Mapping[str, CTVolume]) -> Findings:
    """Far from voxels that lost HU to truncation, the output equals the base, which the network corrects elsewhere.

    Args:
        methods: methods to check.
        volumes: sharp scans by name.
    """
    for name, volume in volumes.items():
        base, lost = base_and_lost(volume, find_transfer(volume).gain)
        far = ~near_truncation(lost, GATE_REACH)
        share = 100.0 * float(far.mean())
        for label, normalizer in methods.items():
            difference = np.abs(normalized(normalizer, volume).hu - np.maximum(base, np.float32(TARGET_FLOOR_HU)))[far]
            value = float(difference.max()) if difference.size else float("nan")
            case = f"largest change of the base over {GATE_REACH} pixels off truncation, {name} ({share:.0f} % of voxels)"
            yield Outcome("no invented structure", case, label, value, "HU", GATE_LIMIT_HU)


def near_truncation(lost: FloatArray, reach: int) -> NDArray[np.bool_]:
    """Voxels (k, j, i) at most ``reach`` pixels in plane from one that lost HU to truncation (``lost`` below 0 HU)."""
    size = 2 * reach + 1
    near: NDArray[np.bool_] = ndimage.maximum_filter(lost < 0.0, (1, size, size))
    return near
