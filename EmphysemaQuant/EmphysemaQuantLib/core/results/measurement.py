"""The complete set of results of one volume on one lung mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KernelNormalizationLib.core.truncation.hu_floor import detect_floor
from KernelNormalizationLib.core.volume import CTVolume

from ..indices.clusters import ClusterIndices, analyse_clusters
from ..indices.density import RegionIndices, partition_indices, require_mask_of
from ..indices.distribution import FloorEffect, ei_curve, floor_effect
from ..indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, emphysema_mask
from ..indices.longitudinal import volume_adjusted_perc15
from ..indices.regions import Thirds, core_and_rind, lobes, sides, thirds
from ..lungs.segmentation import LungMask
from .acquisition_sheet import Patient, SheetItem, acquisition_sheet, predicted_tlv_ml


@dataclass(frozen=True)
class Panel:
    """Everything measured on one volume.

    Attributes:
        name: of the volume.
        synthetic: whether a normalization drew it.
        threshold_hu: HU of the emphysema index.
        regions: whole, right, left, lobes (when known), thirds, core and rind.
        clusters: clusters below the threshold.
        curve: pairs (threshold HU, EI %).
        floor: what truncation at the HU floor does.
        sheet: acquisition sheet with doubts.
        perc15_adjusted_hu: HU, Perc15 of both lungs that the sponge model gives at the predicted TLV; ``None`` when the
            patient is not described.
        airways_ml: mL, airway lumen left out of the lungs; ``None`` when the mask knows none.
    """

    name: str
    synthetic: bool
    threshold_hu: float
    regions: tuple[RegionIndices, ...]
    clusters: ClusterIndices
    curve: tuple[tuple[float, float], ...]
    floor: FloorEffect
    sheet: tuple[SheetItem, ...]
    perc15_adjusted_hu: float | None = None
    airways_ml: float | None = None

    @property
    def whole(self) -> RegionIndices:
        """Indices of both lungs."""
        return self.regions[0]


def measure_panel(
    volume: CTVolume,
    lung_mask: LungMask,
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    by: Thirds = "volume",
    patient: Patient | None = None,
) -> Panel:
    """Measure everything on one volume.

    Args:
        volume: CT, raw or normalized.
        lung_mask: its lungs; one mask serves the raw and the normalized volume.
        threshold_hu: HU of the emphysema index.
        by: thirds of equal volume or equal height.
        patient: for the predicted lung volume, and for Perc15 adjusted to it.

    Raises:
        InputError: shapes differ or the mask is empty.
    """
    require_mask_of(volume, lung_mask)
    geometry = volume.geometry
    partitions = [sides(lung_mask), lobes(lung_mask), thirds(lung_mask, geometry, by), core_and_rind(lung_mask, geometry)]
    regions = partition_indices(volume, partitions, threshold_hu, with_whole=True)
    lung_hu = volume.hu[lung_mask.mask]
    floor = detect_floor(volume.hu, volume.padding_mask)
    emphysema = emphysema_mask(volume.hu, lung_mask.mask, threshold_hu)
    whole = regions[0]
    adjusted = None if patient is None else volume_adjusted_perc15(whole.perc15_hu, whole.tlv_ml, predicted_tlv_ml(patient))
    return Panel(
        name=volume.name,
        synthetic=volume.synthetic,
        threshold_hu=float(threshold_hu),
        regions=tuple(regions),
        clusters=analyse_clusters(emphysema, int(np.count_nonzero(lung_mask.labels)), geometry.spacing),
        curve=ei_curve(lung_hu),
        floor=floor_effect(lung_hu, None if floor.kind == "none" else floor.value, threshold_hu),
        sheet=acquisition_sheet(volume, whole, lung_mask.quality, patient),
        perc15_adjusted_hu=adjusted,
        airways_ml=lung_mask.airways_ml(geometry.voxel_volume_ml),
    )
