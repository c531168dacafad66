"""The rows of a case in the tidy table: one a volume and region, the same whoever computed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from EmphysemaQuantLib.core.indices.density import RegionIndices
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.results.measurement import Measurement, VolumeMeasurement
from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.plain_text import plain
from KernelNormalizationLib.core.version import VERSION
from KernelNormalizationLib.core.volume import CTVolume

from .case import Case

ORIGINAL, NORMALIZED, SOFT = "original", "normalized", "soft"


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: the unit is its suffix.
        unit: as written; empty for words and counts.
        meaning: for the documents and the Parquet file's metadata.
        number: whether it holds numbers.
    """

    name: str
    unit: str
    meaning: str
    number: bool = True


def _words(name: str, meaning: str) -> Column:
    return Column(name, "", meaning, number=False)


COLUMNS: tuple[Column, ...] = (
    _words("case", "Identifier of the case; its folder is cases/<case>"),
    _words("patient", "Pseudonym from the list, or made from the patient ID with the salt of this output folder"),
    _words("date", "Date of the scan (YYYY-MM-DD), if it was given or asked for"),
    _words("sex", "male or female, from the list"),
    Column("height_cm", "cm", "Height, from the list"),
    Column("weight_kg", "kg", "Weight, from the list"),
    _words("volume", "original (as reconstructed), normalized (synthetic B20f), or soft (the soft partner as reconstructed)"),
    _words("synthetic", "yes for a volume that a normalization drew, no for a reconstruction"),
    _words("region", "whole, right, left, a lobe, a third, core or rind"),
    Column("ei_percent", "%", "Emphysema index: share of lung voxels strictly below the threshold"),
    Column("ei_low_percent", "%", "Lower end of the 95 % interval of the normalized EI (whole lungs, known error only)"),
    Column("ei_high_percent", "%", "Upper end of that interval"),
    Column("ev_ml", "mL", "Emphysema volume"),
    Column("tlv_ml", "mL", "Volume of the region's mask; of whole, the total lung volume"),
    Column("perc15_hu", "HU", "HU below which 15 % of the voxels lie"),
    Column("mld_hu", "HU", "Mean lung density"),
    Column("laa910_percent", "%", "Share of voxels below -910 HU"),
    Column("laa856_percent", "%", "Share of voxels below -856 HU (gas trapping, at expiration only)"),
    Column("sd_hu", "HU", "Standard deviation of lung density"),
    Column("skewness", "", "Skewness of lung density"),
    Column("kurtosis", "", "Excess kurtosis of lung density"),
    Column("mass_g", "g", "Tissue and blood, 0 HU taken as 1 g/mL"),
    Column("floor_percent", "%", "Share of voxels stored at the HU floor"),
    Column("voxels", "", "Number of voxels of the region"),
    Column("threshold_hu", "HU", "Threshold of EI and EV"),
    Column("perc15_at_predicted_tlv_hu", "HU", "Perc15 at the predicted lung volume (whole; sex, height, weight known)"),
    Column("airways_ml", "mL", "Airway lumen left out of the lungs (whole lungs)"),
    _words("lung_mask", "Verdict on the lung mask: ok or look"),
    _words("lung_mask_reasons", "Why a person should look at it"),
    _words("method", "Normalization method; none where the scan was smooth already"),
    _words("model", "Network, for the method unet"),
    _words("verdict", "What the scan is: in domain, untested or already smooth"),
    _words("kernel", "Kernel of the volume as its header says; “B20f (synthetic)” for a normalized one"),
    _words("scan_kernel", "Kernel of the scan of the case"),
    _words("manufacturer", "Of the scanner"),
    _words("scanner_model", "Of the scanner"),
    Column("tube_voltage_kv", "kV", "Tube voltage"),
    _words("contrast_agent", "As the header says"),
    Column("slice_thickness_mm", "mm", "As the header says"),
    Column("slice_spacing_mm", "mm", "Distance of slices"),
    Column("pixel_mm", "mm", "Size of a pixel (mean of both sides)"),
    Column("kernel_number_from_noise", "", "Number of the Siemens B kernel whose noise the scan's is like"),
    _words("floor_kind", "Kind of the scan's HU floor"),
    Column("floor_hu", "HU", "The scan's HU floor; its lowest value where it has none"),
    Column("lung_voxels_at_floor_percent", "%", "Share of the scan's lung voxels stored at its floor"),
    _words("version", "Software version"),
    _words("use", "What the numbers may be used for"),
)
_FROM_REGION = frozenset(RegionIndices.__dataclass_fields__)


def case_rows(case: Case, measured: Measurement, soft: Measurement | None, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a case; absent values are ``None``.

    Args:
        case: the case.
        measured: the scan and, if it was normalized, the normalized volume.
        soft: the soft partner, if there is one.
        record: provenance of the normalization.
    """
    same = _of_case(case, measured.volume.ct, measured.lung_mask.quality, record)
    volumes = [(NORMALIZED if volume.synthetic else ORIGINAL, volume) for volume in measured.volumes]
    if soft is not None:
        volumes.append((SOFT, soft.volume))
    rows = []
    for role, volume in volumes:
        for region in volume.regions:
            row = {**same, **_of_volume(role, volume), **_of_region(volume, region)}
            if role != NORMALIZED:
                row |= {"method": None, "model": None}
            rows.append({column.name: row.get(column.name) for column in COLUMNS})
    return rows


def _of_case(case: Case, scan: CTVolume, quality: MaskQuality, record: Mapping[str, Any]) -> dict[str, Any]:
    facts, found = scan.acquisition, record.get("input", {})
    sex, height, weight = case.build
    return {
        "case": case.id,
        "patient": case.patient,
        "date": case.date,
        "sex": sex,
        "height_cm": height,
        "weight_kg": weight,
        "lung_mask": quality.verdict,
        "lung_mask_reasons": plain(" ".join(quality.reasons)) or None,
        "method": record.get("method"),
        "model": record.get("model"),
        "verdict": found.get("verdict"),
        "scan_kernel": facts.kernel,
        "manufacturer": facts.manufacturer,
        "scanner_model": facts.scanner_model,
        "tube_voltage_kv": facts.tube_voltage_kv,
        "contrast_agent": None if facts.contrast_agent is None else plain(facts.contrast_agent, 64),
        "slice_thickness_mm": facts.slice_thickness_mm,
        "slice_spacing_mm": scan.geometry.spacing[0],
        "pixel_mm": 0.5 * (scan.geometry.spacing[1] + scan.geometry.spacing[2]),
        **{k: found.get(k) for k in ("kernel_number_from_noise", "floor_kind", "floor_hu", "lung_voxels_at_floor_percent")},
        "version": VERSION,
        "use": RESEARCH_USE,
    }


def _of_volume(role: str, volume: VolumeMeasurement) -> dict[str, Any]:
    return {"volume": role, "synthetic": "yes" if volume.synthetic else "no", "kernel": volume.ct.acquisition.kernel}


def _of_region(volume: VolumeMeasurement, region: RegionIndices) -> dict[str, Any]:
    row: dict[str, Any] = {key: value for key, value in asdict(region).items() if key in _FROM_REGION}
    if region.region == "whole":
        row |= {"airways_ml": volume.airways_ml, "perc15_at_predicted_tlv_hu": volume.perc15_adjusted_hu}
        if volume.interval is not None:
            row |= {"ei_low_percent": volume.interval.low, "ei_high_percent": volume.interval.high}
    return row
