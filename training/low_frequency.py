"""How much of the low-frequency lift one image shows, by the air beside its edges: ``python -m training.low_frequency``.

Air is -1001 HU up to the wall. A kernel that passes detail near 1 lp/cm less than the mean (a dip) leaves air 2 to 7 mm from an
edge of soft tissue some HU too dense, one that passes it more (a hump) leaves it too light; finer detail does not reach so far.
The lift of a pair is the hump of its smooth kernel over that of its sharp one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from KernelNormalizationLib.core.arrays import LOWEST_STORED_HU, BoolArray, FloatArray
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.kernels.mtf import LIFT_FREQUENCY, gain_to_b20f, lift_curve
from KernelNormalizationLib.core.kernels.radial_filter import Gain, apply_gain
from KernelNormalizationLib.core.truncation.loss_table import LossTable
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.truncation.restoration import AIR_HU, noise_of_air

from .evaluation.cases import find_cases, load_case

Curve = NDArray[np.float64]

# Half of the step from air to soft tissue; a lumen's and the body's border.
WALL_HU, LUMEN_HU = -500.0, -850.0
# Distances from the wall, mm: bins, where the lift shows, and where it no longer does, so that the noise can be read there.
BINS_MM = np.arange(0.0, 16.1, 0.75)
SHOWS_MM, SKIN_FAR_MM, LUMEN_FAR_MM = (2.2, 7.0), (9.0, 16.0), (5.0, 12.0)
# Trachea and main bronchi cut across, mm^2, and how much of their rectangle they fill.
LUMEN_MM2, LUMEN_FILLS = (100.0, 500.0), 0.55
MARGIN_MM = 25.0
# Other things round the body (table, cushions, clothes) are kept away from by so many mm.
APART_MM, OBJECT_HU, SECTORS = 12.0, -900.0, 24
FEWEST_VOXELS = 60
# Clothes make air denser. Skin is bare where the mean over these distances (mm) is off by no more than this from air; the lift
# is worth 10 HU there.
BARE_MM, BARE_HU = (4.0, 9.0), 20.0
HEIGHTS_HU = np.linspace(-80.0, 400.0, 1921)


@dataclass(frozen=True)
class Stretch:
    """Air along one wall, by distance from it: (bins,).

    Attributes:
        voxels: how many.
        stored: HU, mean as stored.
        dip: HU by which a dip of the whole lift raises air there.
        noise: HU, noise SD of one averaged image, from air far from the wall.
    """

    voxels: Curve
    stored: Curve
    dip: Curve
    noise: float

    @property
    def bare(self) -> bool:
        """Whether the wall has nothing but air beside it."""
        voxels = np.where(_bins_within(*BARE_MM), self.voxels, 0.0)
        return bool(voxels.sum() >= FEWEST_VOXELS) and abs(float(np.average(self.mean, weights=voxels)) - AIR_HU) < BARE_HU

    @property
    def mean(self) -> Curve:
        """HU before truncation: averaging images leaves the mean of truncated ones, so it does not matter here."""
        return LOWEST_STORED_HU + np.interp(self.stored - LOWEST_STORED_HU, _above(HEIGHTS_HU, self.noise), HEIGHTS_HU)


@dataclass(frozen=True)
class Reading:
    """What the air of an image or series says.

    Attributes:
        stretches: pieces of wall.
        dip: of the kernel near 1 lp/cm in shares of the measured lift; negative: a hump.
    """

    stretches: int
    dip: float


def _bins_within(low_mm: float, high_mm: float) -> BoolArray:
    middle = 0.5 * (BINS_MM[1:] + BINS_MM[:-1])
    return np.asarray((middle > low_mm) & (middle < high_mm))


def read_skin(slices: FloatArray, pixel_mm: float, gain: Gain) -> Reading | None:
    """The dip by the air outside the body; ``None`` without enough bare skin.

    Args:
        slices: (k, j, i), HU, as stored.
        pixel_mm: in-plane spacing.
        gain: to a smooth kernel, for finding the skin; all ones for a smooth image.
    """
    return _fit([s for image in slices for s in _along_skin(image, pixel_mm, gain) if s.bare], level_known=True)


def read_trachea(slices: FloatArray, pixel_mm: float, gain: Gain) -> Reading | None:
    """The dip by the air in trachea and main bronchi, arguments as :func:`read_skin`; ``None`` if none is seen."""
    return _fit([s for image in slices for s in _in_lumens(image, pixel_mm, gain)], level_known=False)


def _fit(stretches: Sequence[Stretch], *, level_known: bool) -> Reading | None:
    """Least squares over the distances at which the lift shows; inside the body the level of the air is fitted along."""
    shown = _bins_within(SHOWS_MM[0], SHOWS_MM[1] if level_known else LUMEN_FAR_MM[1])
    if not stretches:
        return None
    voxels = np.array([s.voxels for s in stretches])[:, shown]
    total = voxels.sum(axis=0)
    mean, dip = (
        np.sum(voxels * np.nan_to_num(np.array(v)[:, shown]), axis=0) / np.maximum(total, 1.0)
        for v in ([s.mean for s in stretches], [s.dip for s in stretches])
    )
    enough = total >= FEWEST_VOXELS
    if np.count_nonzero(enough) < 3:
        return None
    terms = np.stack([dip, np.zeros_like(dip) if level_known else np.ones_like(dip)], axis=1)[enough]
    weight = np.sqrt(total[enough])
    found = np.linalg.lstsq(terms * weight[:, None], (mean[enough] - AIR_HU) * weight, rcond=None)[0]
    return Reading(len(stretches), float(found[0]))


def _along_skin(image: FloatArray, pixel_mm: float, gain: Gain) -> Iterator[Stretch]:
    base = apply_gain(image[None], (pixel_mm, pixel_mm), gain)[0]
    labels, count = ndimage.label(ndimage.binary_opening(base > WALL_HU, iterations=2))
    if not count:
        return
    largest = 1 + int(np.argmax(np.bincount(labels.reshape(-1))[1:]))
    body = ndimage.binary_fill_holes(labels == largest)
    near = ndimage.binary_dilation(body, iterations=round(0.5 * APART_MM / pixel_mm))
    things = (ndimage.gaussian_filter(base, 2.0) > OBJECT_HU) & ~near
    free = ndimage.distance_transform_edt(~things) * pixel_mm > APART_MM if things.any() else np.ones_like(body)
    rows, columns = (np.arange(n) - 0.5 * (n - 1) for n in image.shape)
    free &= np.hypot(rows[:, None] / image.shape[0], columns[None, :] / image.shape[1]) < 0.48
    centre = ndimage.center_of_mass(body)
    angle = np.arctan2(*np.meshgrid(*(np.arange(n) - c for n, c in zip(image.shape, centre, strict=True)), indexing="ij"))
    sector = ((angle + np.pi) / (2.0 * np.pi) * SECTORS).astype(int) % SECTORS
    distance = _from_wall(~body, pixel_mm)
    dip = _dip(np.where(body, base, AIR_HU), pixel_mm)
    for n in range(SECTORS):
        stretch = _stretch(image, dip, np.where(free & (sector == n), distance, -1.0), SKIN_FAR_MM)
        if stretch is not None:
            yield stretch


def _in_lumens(image: FloatArray, pixel_mm: float, gain: Gain) -> Iterator[Stretch]:
    base = apply_gain(image[None], (pixel_mm, pixel_mm), gain)[0]
    labels, _ = ndimage.label(ndimage.gaussian_filter(base, 1.0) < LUMEN_HU)
    margin = round(MARGIN_MM / pixel_mm)
    for n, place in enumerate(ndimage.find_objects(labels), 1):
        core = labels[place] == n
        size = np.count_nonzero(core) * pixel_mm**2
        if not LUMEN_MM2[0] < size < LUMEN_MM2[1] or core.mean() < LUMEN_FILLS:
            continue
        box = tuple(slice(p.start - margin, p.stop + margin) for p in place)
        if min(b.start for b in box) < 0 or any(b.stop > n for b, n in zip(box, base.shape, strict=True)):
            continue
        air, _ = ndimage.label(base[box] < WALL_HU)
        lumen = air == air[tuple(length // 2 for length in air.shape)]
        beside = ndimage.binary_dilation(lumen, iterations=round(5.0 / pixel_mm)) & ~lumen
        if not lumen.any() or lumen.all() or np.median(base[box][beside]) < -200.0:
            continue
        dip = _dip(np.where(lumen, AIR_HU, base[box]), pixel_mm)
        stretch = _stretch(image[box], dip, _from_wall(lumen, pixel_mm), LUMEN_FAR_MM)
        if stretch is not None:
            yield stretch


def _from_wall(air: BoolArray, pixel_mm: float) -> Curve:
    """Distance (mm) of the pixels of ``air`` (rows, columns) from its border, negative outside."""
    distance: Curve = (ndimage.distance_transform_edt(air) - 0.5) * pixel_mm
    return distance


def _dip(objects: FloatArray, pixel_mm: float) -> Curve:
    """HU by which a dip of the whole lift changes an image of ``objects`` (rows, columns), HU."""
    down, across = (np.fft.fftfreq(n, pixel_mm / 10.0) for n in objects.shape)
    frequency = np.hypot(down[:, None], across[None, :])
    change = 1.0 / lift_curve(frequency, 1.0) - 1.0
    return np.asarray(np.fft.ifft2(np.fft.fft2(objects - AIR_HU) * change).real, np.float64)


def _stretch(image: FloatArray, dip: Curve, distance: Curve, far_mm: tuple[float, float]) -> Stretch | None:
    """Means by ``distance`` (rows, columns), mm, of what is not nearer than 0 mm; ``None`` with too little air far away."""
    far = (distance >= far_mm[0]) & (distance < far_mm[1])
    if np.count_nonzero(far) < FEWEST_VOXELS:
        return None
    noise = float(noise_of_air(image[far].mean(keepdims=True), Truncation())[0])
    inside = distance >= 0.0
    voxels = np.histogram(distance[inside], BINS_MM)[0].astype(np.float64)
    stored, raised = (
        np.histogram(distance[inside], BINS_MM, weights=v[inside])[0] / np.maximum(voxels, 1.0) for v in (image, dip)
    )
    return Stretch(voxels, stored, raised, noise)


def _above(height: Curve, noise: float) -> Curve:
    """Mean (HU above the floor) after truncation of air ``height`` HU above it, with ``noise`` in every averaged image."""
    table = LossTable.of(Truncation())
    t = height / noise
    return np.asarray(noise * np.where(t > table.t[-1], t, np.interp(t, table.t, table.mean)), np.float64)


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser("python -m training.low_frequency", description=__doc__)
    parser.add_argument(
        "--pairs", type=Path, nargs="+", default=[], metavar="PAIRS", help="simulated pairs, whose lift is known"
    )
    parser.add_argument("--sharp", type=Path, nargs="+", default=[], metavar="SCAN", help="scans with a sharp Siemens kernel")
    parser.add_argument(
        "--smooth", type=Path, nargs="+", default=[], metavar="SCAN", help="scans or slices with a smooth kernel"
    )
    parser.add_argument("--number", type=float, default=70.0, help="kernel number of the sharp scans (default 70)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: ``python -m training.low_frequency``."""
    args = build_parser().parse_args(arguments)
    sys.stdout.write(f"Dip near {LIFT_FREQUENCY} lp/cm in shares of the measured lift, by air beside skin and in the trachea\n")
    for path in (p for folder in args.pairs for p in find_cases(folder)):
        case = load_case(path)
        kernel, slices, pixel = case.meta["sharp_kernel"], slice(0, case.slices), case.meta["pixel_mm"]
        say = f"{path.stem} (lift {kernel['lift']:g})"
        _report(f"{say}, sharp", case.sharp.hu[slices], pixel, _to_smooth(float(kernel["number"])))
        _report(f"{say}, smooth", case.smooth.hu[slices], pixel, np.ones_like)
    for paths, gain in ((args.sharp, _to_smooth(args.number)), (args.smooth, np.ones_like)):
        for path in paths:
            _report(path.name, *_read(path), gain)


def _to_smooth(number: float) -> Gain:
    return lambda frequency: gain_to_b20f(number, frequency)


def _read(path: Path) -> tuple[FloatArray, float]:
    """Slices (k, j, i), HU, and in-plane spacing (mm) of a series' folder or a single DICOM slice."""
    if path.is_dir():
        volume = read_volume(path)
        return volume.filled(), volume.geometry.spacing[2]
    image = sitk.ReadImage(str(path))
    return np.maximum(sitk.GetArrayFromImage(image).astype(np.float32), LOWEST_STORED_HU), float(image.GetSpacing()[0])


def _report(name: str, slices: FloatArray, pixel_mm: float, gain: Gain) -> None:
    found = [(what, read(slices, pixel_mm, gain)) for what, read in (("skin", read_skin), ("trachea", read_trachea))]
    told = [f"{what} {r.dip:+.2f} ({r.stretches} stretches)" for what, r in found if r is not None]
    sys.stdout.write(f"{name}: {', '.join(told) or 'too little bare skin, no trachea'}\n")


if __name__ == "__main__":
    main()
