"""Simulates one patient: object, scanner and reconstruction."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import EMPHYSEMA_THRESHOLD_HU, FloatArray, LabelArray

from ..data.kernel_pair import KernelPair, PairRecord, SimulationTruth
from .emphysema import Holes, calibrate, dig, draw_holes, index_at
from .floors import outside_circle, to_integers
from .kernel_family import SMOOTH_KERNEL
from .noise import SLICE_CORRELATION, NoiseChain, attenuation, coarse_grid, reading_noise
from .presets import Options, PatientPlan, draw_plan
from .procedural import ProceduralChest, Slab
from .real_objects import RealChest, RealVolume
from .sampling import Grid, SignalChain, to_pixels
from .texture import random_field
from .truncated import hu_floor, truncated, truncation_meta

THRESHOLD = EMPHYSEMA_THRESHOLD_HU
# Largest line integral of the mean patient (about 30 cm of water across the chest), for which modulation changes nothing.
REFERENCE_PEAK = 5.2
CALIBRATION_SLICES = 2
# Planes averaged through a thick slice of a procedural chest (partial volume along the body); real volumes of thick slices
# are averaged already.
THICK_PLANES = 3
# Largest distance between the centre of a reconstruction and that of a real volume whose body is cut off, mm.
CENTRE_LIMIT = 3.0


class ObjectSource(Protocol):
    """A body that can be drawn on any grid."""

    source: str
    real: bool
    field_mm: float

    @property
    def height(self) -> tuple[float, float]: ...
    @property
    def extent(self) -> tuple[float, float]: ...
    def coarse(self, grid: Grid) -> FloatArray: ...
    def fine(self, grid: Grid) -> Slab: ...


@dataclass(frozen=True)
class _Slices:
    """Native slices (k, j, i) before truncation, HU, with the noise in each, and the lung labels."""

    sharp: FloatArray
    smooth: FloatArray
    sharp_noise: FloatArray
    smooth_noise: FloatArray
    lung: LabelArray


def emphysema_index(hu: NDArray[Any], lung: NDArray[Any]) -> float:
    """Percentage of lung voxels below -950 HU; NaN without lung."""
    inside = hu[lung > 0]
    return float(100.0 * np.mean(inside < THRESHOLD)) if inside.size else float("nan")


def simulate_patient(options: Options, seed: int, index: int, volumes: list[RealVolume]) -> KernelPair:
    """Simulate patient number ``index`` of the run with this ``seed``; the result is reproducible.

    Args:
        options: choices of the run.
        seed: seed of the run.
        index: patient number, from 0.
        volumes: real volumes to use as objects; may be empty.
    """
    rng = np.random.default_rng([seed, index])
    plan = draw_plan(options, index, bool(volumes), rng)
    chest = RealChest(volumes[int(rng.integers(len(volumes)))], rng) if plan.real_object else ProceduralChest(rng)
    grid = _grid(options, plan, chest, rng)
    slices, truth = _reconstruct(plan, chest, grid, rng)
    return _finish(options, plan, chest, grid, slices, {**truth, "seed": seed, "index": index})


def _grid(options: Options, plan: PatientPlan, chest: ObjectSource, rng: np.random.Generator) -> Grid:
    needed = (
        options.slices
        if plan.native_mm == plan.output_mm
        else int(np.ceil((options.slices - 1) * plan.output_mm / plan.native_mm) + 1)
    )
    low, high = chest.height
    length = (needed - 1) * plan.native_mm
    start = low + plan.position * max(0.0, high - low - length)
    fitted = 2.0 * (max(chest.extent) + rng.uniform(2.0, 25.0)) / 512.0
    pixel = plan.pixel if plan.pixel is not None else float(np.clip(fitted, *plan.pixel_range))
    centre = (float(rng.normal(0.0, 4.0)), float(rng.normal(0.0, 4.0)))
    if pixel * 512 > chest.field_mm - 2.0 * CENTRE_LIMIT:
        pixel = (chest.field_mm - 2.0 * CENTRE_LIMIT) / 512.0
        centre = (max(-CENTRE_LIMIT, min(CENTRE_LIMIT, centre[0])), max(-CENTRE_LIMIT, min(CENTRE_LIMIT, centre[1])))
    if options.matrix < 512:
        centre = (0.0, -0.45 * chest.extent[1])
    return Grid(tuple(start + n * plan.native_mm for n in range(needed)), pixel, options.matrix, centre)


def _reconstruct(
    plan: PatientPlan, chest: ObjectSource, grid: Grid, rng: np.random.Generator
) -> tuple[_Slices, SimulationTruth]:
    noise_sharp, noise_smooth = _noise(plan, chest, grid, rng)
    planes = THICK_PLANES if plan.native_mm > 1.0 and not chest.real else 1
    fine = _through_slices(grid.fine(), plan.native_mm, planes)
    slab = chest.fine(fine)
    signal = SignalChain(grid, (plan.kernel.mtf, SMOOTH_KERNEL.mtf))
    lung = np.ascontiguousarray(to_pixels(slab.lung[planes // 2 :: planes])).astype(np.uint8)
    low, high = chest.height
    target = index_at((0.5 * (grid.z[0] + grid.z[-1]) - low) / max(high - low, 1.0), plan.emphysema)
    holes = draw_holes(plan.emphysema, slab.lung, fine, rng) if target > 0 else None
    used = 0
    hu = slab.hu
    if holes is not None:
        warp = np.clip(0.5 * random_field(fine, 1.5, 2.0, rng), -1.0, 1.0)
        used = _count_for(target, holes, slab, fine, warp, _SmoothImages(signal, noise_smooth, lung))
        hu = dig(slab.hu, slab.lung, holes.first(used).paint(fine, warp))
    pairs = [signal(plane) for plane in _averaged(hu, planes)]
    sharp, smooth = (np.stack(images) for images in zip(*pairs, strict=True))
    truth: SimulationTruth = {
        "asked_ei": target,
        "holes": used,
        "noise_free_ei": emphysema_index(smooth, lung),
        "noise_sd_sharp": float(noise_sharp[lung > 0].std()) if (lung > 0).any() else None,
        "noise_sd_smooth": float(noise_smooth[lung > 0].std()) if (lung > 0).any() else None,
    }
    return _Slices(sharp + noise_sharp, smooth + noise_smooth, noise_sharp, noise_smooth, lung), truth


def _through_slices(fine: Grid, thickness: float, planes: int) -> Grid:
    offsets = (np.arange(planes) - 0.5 * (planes - 1)) * thickness / planes
    return replace(fine, z=tuple(float(z + d) for z in fine.z for d in offsets))


def _averaged(hu: FloatArray, planes: int) -> FloatArray:
    averaged: FloatArray = hu.reshape(-1, planes, *hu.shape[1:]).mean(axis=1)
    return averaged


def _noise(plan: PatientPlan, chest: ObjectSource, grid: Grid, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    chain = NoiseChain(grid, plan.kernel.mtf, SMOOTH_KERNEL.mtf)
    overall = coarse_grid(grid.z)
    correlation = SLICE_CORRELATION if plan.native_mm <= 1.0 else 0.0
    white = chain.draw_white(len(grid.z), correlation, rng)
    sharp, smooth = [], []
    for k, plane in enumerate(chest.coarse(overall)):
        spread = reading_noise(attenuation(plane), plan.dose, REFERENCE_PEAK)
        pair = chain.reconstruct(white[k], spread)
        sharp.append(pair[0])
        smooth.append(pair[1])
    return np.stack(sharp), np.stack(smooth)


@dataclass(frozen=True)
class _SmoothImages:
    """Parts of the smooth reconstruction of a body: the scanner's signal chain, its noise (k, j, i) in HU, and the lungs."""

    signal: SignalChain
    noise: FloatArray
    lung: LabelArray


def _count_for(target: float, holes: Holes, slab: Slab, fine: Grid, warp: FloatArray, images: _SmoothImages) -> int:
    """Number of holes that gives the target index in the smooth reconstruction, including its noise.

    Truncation at -1024 HU can be ignored here: voxels below -950 HU stay below -950 HU.
    """
    signal, noise, lung = images.signal, images.noise, images.lung
    planes = len(fine.z) // len(lung)
    chosen = np.unique(np.linspace(0, len(lung) - 1, CALIBRATION_SLICES + 2).astype(int)[1:-1])

    def index_of(count: int) -> float:
        below, total = 0, 0
        for k in chosen:
            part = slice(k * planes, (k + 1) * planes)
            missing = holes.first(count).paint(replace(fine, z=fine.z[part]), warp[part])
            dug = dig(slab.hu[part], slab.lung[part], missing).mean(axis=0)
            image = (signal(dug)[1] + noise[k])[lung[k] > 0]
            below, total = below + int(np.count_nonzero(image < THRESHOLD)), total + image.size
        return 100.0 * below / max(total, 1)

    return calibrate(index_of, holes.radii.size, target)


def _finish(
    options: Options, plan: PatientPlan, chest: ObjectSource, grid: Grid, slices: _Slices, truth: SimulationTruth
) -> KernelPair:
    unclipped, noise, lung = slices.sharp, slices.sharp_noise, slices.lung
    # Sharp and smooth slices average the same acquisitions, so the same seed draws the deviations of the averaged images.
    seed = [truth["seed"], truth["index"], 1]
    sharp, smooth = (
        np.rint(truncated(image, own, plan.truncation, np.random.default_rng(seed)))
        for image, own in ((unclipped, noise), (slices.smooth, slices.smooth_noise))
    )
    if plan.native_mm != plan.output_mm:
        z = np.arange(options.slices, dtype=np.float64) * plan.output_mm / plan.native_mm
        sharp, smooth, unclipped, noise = (_along_z(a, z) for a in (sharp, smooth, unclipped, noise))
        lung = lung[np.rint(z).astype(int)]
    outside = outside_circle(options.matrix)
    integers = [to_integers(sharp), to_integers(smooth)]
    if plan.padding is not None:
        for image in integers:
            image[:, outside] = plan.padding
        lung = np.where(outside[None], np.uint8(0), lung)
    spacing = (plan.output_mm, grid.pixel, grid.pixel)
    floor = hu_floor(plan.truncation)
    meta: PairRecord = {
        "asked_ei": truth["asked_ei"],
        "holes": truth["holes"],
        "noise_free_ei": truth["noise_free_ei"],
        "noise_sd_sharp": truth["noise_sd_sharp"],
        "noise_sd_smooth": truth["noise_sd_smooth"],
        "seed": truth["seed"],
        "index": truth["index"],
        "true_ei": emphysema_index(integers[1], lung),
        "raw_ei": emphysema_index(integers[0], lung),
        "l1_raw": float(np.abs(integers[0].astype(np.float32) - integers[1]).mean()),
        "sharp_kernel": plan.kernel.as_meta(),
        "smooth_kernel": {
            "name": "B20f",
            "number": SMOOTH_KERNEL.number,
            "f50": SMOOTH_KERNEL.f50,
            "p": SMOOTH_KERNEL.p,
            "b": SMOOTH_KERNEL.b,
            "f1": SMOOTH_KERNEL.f1,
        },
        "dose": {"quanta": plan.dose.quanta, "modulation": plan.dose.modulation, "slice_factor": plan.dose.slice_factor},
        "truncation": truncation_meta(plan.truncation),
        "floor": {"kind": floor.kind, "value": floor.value},
        "padding": plan.padding,
        "pixel_mm": grid.pixel,
        "native_slice_mm": plan.native_mm,
        "slice_mm": plan.output_mm,
        "first_slice_mm": grid.z[0],
        "position": plan.position,
        "emphysema": asdict(plan.emphysema),
        "object": chest.source,
        "real_object": chest.real,
        "preset": options.preset,
    }
    return KernelPair(
        integers[0],
        integers[1],
        np.ascontiguousarray(lung),
        spacing,
        meta,
        unclipped.astype(np.float32) if options.keep_unclipped else None,
        noise.astype(np.float16) if options.keep_unclipped else None,
    )


def _along_z(hu: FloatArray, z: NDArray[np.float64]) -> FloatArray:
    low = np.minimum(z.astype(int), max(hu.shape[0] - 2, 0))
    part = (z - low).astype(np.float32)[:, None, None]
    mixed: FloatArray = (1.0 - part) * hu[low] + part * hu[np.minimum(low + 1, hu.shape[0] - 1)]
    return mixed
