"""The tables that a report prints, with the precision that the numbers have."""

from __future__ import annotations

from ..core.indices.clusters import SIZE_CLASS_NAMES
from ..core.indices.density import RegionIndices
from ..core.results.measurement import Measurement, VolumeMeasurement
from ..core.results.wording import SHOWN_INDICES

Table = tuple[list[str], list[list[str]]]


def printed_regions(measurement: Measurement) -> Table:
    """Header and rows of the region table: the volumes side by side; TLV belongs to the mask and is the same for both."""
    volumes = measurement.volumes
    pair = len(volumes) == 2
    shown = [entry for entry in SHOWN_INDICES if entry[1] != "tlv_ml"]
    header = ["Region", "TLV (mL)"]
    header += [f"{label} {volume.kind}" if pair else label for label, _, _ in shown for volume in volumes]
    rows = []
    for first in measurement.volume.regions:
        row = [first.region, f"{first.tlv_ml:.0f}"]
        for _, field, form in shown:
            for volume in volumes:
                found = _region_of(volume, first.region)
                row.append("–" if found is None else format(getattr(found, field), form))
        rows.append(row)
    return header, rows


def _region_of(volume: VolumeMeasurement, region: str) -> RegionIndices | None:
    return next((found for found in volume.regions if found.region == region), None)


def printed_whole(measurement: Measurement) -> Table:
    """Header and rows of the table of further indices of the whole lungs."""
    volumes = measurement.volumes
    rows: list[list[str]] = []

    def add(name: str, values: list[str]) -> None:
        rows.append([name, *values])

    add("LAA-910, inspiration (%)", [f"{v.whole.laa910_percent:.1f}" for v in volumes])
    add("LAA-856, expiration (%)", [f"{v.whole.laa856_percent:.1f}" for v in volumes])
    adjusted = [v.perc15_adjusted_hu for v in volumes]
    if all(value is not None for value in adjusted):
        add("Perc15 at predicted TLV (HU)", [f"{value:.0f}" for value in adjusted])
    add("SD (HU)", [f"{v.whole.sd_hu:.0f}" for v in volumes])
    add("Skewness", [f"{v.whole.skewness:.2f}" for v in volumes])
    add("Excess kurtosis", [f"{v.whole.kurtosis:.2f}" for v in volumes])
    add("Airways left out (mL)", ["–" if v.airways_ml is None else f"{v.airways_ml:.0f}" for v in volumes])
    add("Lung mass (g)", [f"{v.whole.mass_g:.0f}" for v in volumes])
    add("Clusters", [f"{v.clusters.count}" for v in volumes])
    add("Largest cluster (mL)", [f"{v.clusters.largest_ml:.1f}" for v in volumes])
    fits = [v.clusters.power_law for v in volumes]
    add("D-value", ["–" if fit is None else f"{fit.d_value:.2f}" for fit in fits])
    add("R² of its fit", ["–" if fit is None else f"{fit.r_squared:.2f}" for fit in fits])
    add("In clusters > 120 mm³ (%)", [f"{v.clusters.class_percent[-1]:.1f}" for v in volumes])
    add("At the HU floor (%)", [f"{v.floor.lung_share_percent:.1f}" for v in volumes])
    return ["Both lungs", *(volume.kind for volume in volumes)], rows


def printed_clusters(measurement: Measurement) -> Table:
    """Header and rows of the table of emphysema by cluster size."""
    header = ["% of the lung in clusters of", *(volume.kind for volume in measurement.volumes)]
    rows = [
        [name, *(f"{volume.clusters.class_percent[number]:.1f}" for volume in measurement.volumes)]
        for number, name in enumerate(SIZE_CLASS_NAMES)
    ]
    return header, rows
