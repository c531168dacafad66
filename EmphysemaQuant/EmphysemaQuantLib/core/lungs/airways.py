"""Trachea and main bronchi: found from above, grown downwards, stopped before the growth leaks into the lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray, FloatArray, Spacing
from KernelNormalizationLib.core.imaging.morphology import components, to_image
from KernelNormalizationLib.core.stopping import filtered

# Coronal and sagittal tracheal diameters of adults are 10 to 27 mm (Breatnach 1984, abstract), so an axial section has 80 to
# 570 mm2; the limits leave room for slanting sections and saber-sheath tracheas.
TRACHEA_AREA_MM2 = (40.0, 800.0)
TRACHEA_MINIMUM_LENGTH_MM = 20.0
TRACHEA_MAXIMUM_ELONGATION = 3.0
TRACHEA_HU = -800.0

# Main, lobar and first segmental bronchi hold about 25 to 40 mL of air in an adult; a leak into a lung is hundreds.
BRONCHI_ML = 30.0
GROWTH_HU = (-1020.0, -700.0)
GROWTH_STEP_HU = 6.0
# Just below the threshold of the explosion small leaks (a few mL) are common; measured on the four test chests, 15 HU
# below it none is left and the lobar bronchi are still reached.
GROWTH_BACK_OFF_HU = 15.0


@dataclass(frozen=True)
class TracheaSection:
    """One axial section of a trachea candidate on the coarse grid (indices, mm2)."""

    k: int
    label: int
    row: float
    column: float
    area_mm2: float


def find_trachea(hu: FloatArray, body: BoolArray, spacing: Spacing) -> BoolArray | None:
    """The tracheal lumen above the carina.

    Looks for the chain of round, dark, central sections that runs longest through consecutive slices; among chains
    of like length the upper one wins, because the oesophagus and the bowel hold air too.

    Args:
        hu: float32 (k, j, i) in canonical order on a grid of about 2 mm, HU.
        body: bool (k, j, i), the body with its cavities.
        spacing: mm along (k, j, i).

    Returns:
        bool (k, j, i) of the lumen, or ``None`` when no chain is at least 20 mm long.
    """
    dark = (hu < TRACHEA_HU) & body
    labels = np.zeros(hu.shape, dtype=np.uint32)
    chains: list[list[TracheaSection]] = []
    open_chains: list[list[TracheaSection]] = []
    for k in range(hu.shape[0] - 1, -1, -1):
        sections = _sections(dark[k], body[k], labels[k], k, spacing)
        open_chains = _extend(open_chains, sections, labels, spacing)
        chains.extend(chain for chain in open_chains if len(chain) == 1)
    lengths = [_score(chain, spacing) for chain in chains]
    if not lengths or max(lengths) < TRACHEA_MINIMUM_LENGTH_MM:
        return None
    lumen = np.zeros(hu.shape, dtype=bool)
    for section in chains[int(np.argmax(lengths))]:
        lumen[section.k] = labels[section.k] == section.label
    return lumen


def _score(chain: list[TracheaSection], spacing: Spacing) -> float:
    return (len(chain)) * spacing[0]


def _sections(dark: BoolArray, body: BoolArray, labels: NDArray[np.uint32], k: int, spacing: Spacing) -> list[TracheaSection]:
    """Trachea-like components of one slice; ``labels`` (a view) receives their numbers."""
    if not dark.any():
        return []
    pixel = spacing[1] * spacing[2]
    plane, sizes = components(dark, max(1, int(TRACHEA_AREA_MM2[0] / pixel)))
    labels[:] = plane
    body_columns = np.flatnonzero(body.any(axis=0))
    centre, half_width = (body_columns[0] + body_columns[-1]) / 2, (body_columns[-1] - body_columns[0]) / 2 + 1
    found = []
    for label, size in enumerate(sizes, start=1):
        if size * pixel > TRACHEA_AREA_MM2[1]:
            continue
        rows, columns = np.nonzero(plane == label)
        if abs(columns.mean() - centre) > 0.35 * half_width:
            continue
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        elongation = (height * spacing[1]) / (width * spacing[2])
        round_enough = 1 / TRACHEA_MAXIMUM_ELONGATION < elongation < TRACHEA_MAXIMUM_ELONGATION
        if round_enough and size > 0.5 * height * width:
            found.append(TracheaSection(k, label, float(rows.mean()), float(columns.mean()), size * pixel))
    return found


def _extend(
    chains: list[list[TracheaSection]], sections: list[TracheaSection], labels: NDArray[np.uint32], spacing: Spacing
) -> list[list[TracheaSection]]:
    """Chains that end in this slice: each section joins the longest chain it overlaps, or starts one of its own."""
    alive = []
    taken: set[int] = set()
    for section in sections:
        best: int | None = None
        for index, chain in enumerate(chains):
            if index not in taken and _continues(chain[-1], section, labels, spacing):
                best = index if best is None or len(chain) > len(chains[best]) else best
        if best is None:
            alive.append([section])
        else:
            taken.add(best)
            chains[best].append(section)
            alive.append(chains[best])
    return alive


def _continues(upper: TracheaSection, lower: TracheaSection, labels: NDArray[np.uint32], spacing: Spacing) -> bool:
    ratio = lower.area_mm2 / upper.area_mm2
    # a section may double over one slice where the carina opens, but the apex of a lung grows faster than that
    if upper.k != lower.k + 1 or not 0.4 < ratio < 2.5:
        return False
    overlap = (labels[upper.k] == upper.label) & (labels[lower.k] == lower.label)
    return bool(overlap.any())


@dataclass(frozen=True)
class AirwayGrowth:
    """Grown airways on the grid they were grown on.

    Attributes:
        lumen: bool (k, j, i), trachea, main bronchi and what could be followed of their branches.
        threshold_hu: highest HU accepted into the lumen before the growth leaked.
        leaked: whether even the darkest threshold leaked, so that only the trachea itself is returned.
    """

    lumen: BoolArray
    threshold_hu: float
    leaked: bool


def grow_airways(hu: FloatArray, trachea: BoolArray, spacing: Spacing) -> AirwayGrowth:
    """Grow from the trachea into the bronchi with the highest threshold that does not leak.

    The volume reached from the trachea rises slowly with the threshold while walls hold and jumps when the first wall
    gives way (searching the best threshold of region growing from the trachea goes back to Mori 1996, abstract). The limit
    is the trachea's own volume plus ``BRONCHI_ML``.

    Args:
        hu: float32 (k, j, i), HU on the grid of about 1.4 mm (``AIRWAY_GRID_MM``), canonical order.
        trachea: bool (k, j, i), seeds.
        spacing: mm along (k, j, i).
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    limit = float(trachea.sum()) * voxel_ml * 1.3 + BRONCHI_ML
    low, high = GROWTH_HU
    best_threshold = low
    image = to_image(hu, spacing)
    seeds = _seed_points(trachea, hu)
    while high - low > GROWTH_STEP_HU:
        threshold = (low + high) / 2
        grown = _grown(image, seeds, threshold)
        if grown.sum() * voxel_ml <= limit:
            low, best_threshold = threshold, threshold
        else:
            high = threshold
    lumen = trachea | _grown(image, seeds, best_threshold - GROWTH_BACK_OFF_HU)
    return AirwayGrowth(lumen, best_threshold - GROWTH_BACK_OFF_HU, leaked=best_threshold == GROWTH_HU[0])


def _grown(image: sitk.Image, seeds: list[list[int]], threshold: float) -> BoolArray:
    grown = filtered(sitk.ConnectedThresholdImageFilter, image, SeedList=seeds, Lower=-2000.0, Upper=threshold)
    array: BoolArray = sitk.GetArrayFromImage(grown).astype(bool)
    return array


def _seed_points(trachea: BoolArray, hu: FloatArray) -> list[list[int]]:
    where = np.argwhere(trachea)
    order = np.argsort(hu[trachea], kind="stable")[: max(1, len(where) // 2)]
    chosen = where[order[:: max(1, len(order) // 200)]]
    return [[int(i), int(j), int(k)] for k, j, i in chosen]
