"""Sentences of a report: headline, verdicts, comparison, methods and provenance."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.provenance.manifest import short_form
from KernelNormalizationLib.core.version import VERSION

from ..core.indices.regions import RIND_MM
from ..core.results.acquisition_sheet import SheetItem, is_sharp, location_reliable
from ..core.results.measurement import Measurement, VolumeMeasurement
from ..core.results.wording import (
    agreement_sentences,
    interval_sentences,
    interval_words,
    kind_words,
    mask_sentence,
)

FOOTER = RESEARCH_USE
# Fields of the provenance record that the page prints, besides the hash of the weights.
_RECORDED = ("method", "model", "backend", "device", "version")


def headline(measurement: Measurement) -> str:
    """The result in one line."""
    text = f"EI {', '.join(_index_words(volume) for volume in measurement.volumes)}"
    return text if len(measurement.volumes) > 1 else f"{text}, of {measurement.volume.whole.tlv_ml:.0f} mL"


def _index_words(volume: VolumeMeasurement) -> str:
    text = f"{volume.whole.ei_percent:.1f} % {kind_words(volume)}"
    return text if volume.interval is None else f"{text} ({interval_words(volume.interval)})"


def verdicts(measurement: Measurement) -> list[str]:
    """What limits the numbers, most important first."""
    lines = [mask_sentence(measurement.lung_mask.quality)]
    first, last = measurement.volumes[0], measurement.volumes[-1]
    if measurement.compared is None and is_sharp(first.ct):
        lines.append(
            f"Sharp kernel {first.ct.acquisition.kernel}: noise counts as emphysema, so EI is too high and its marked places "
            "are unreliable; normalize first."
        )
    elif not location_reliable(last.whole.ei_percent):
        lines.append(
            f"Location unreliable: at EI ≤ 5 % (here {last.whole.ei_percent:.1f} %) the emphysema mask is a few isolated "
            "voxels; trust the index, not the place."
        )
    if first.floor.floor_hu is not None:
        lines.append(first.floor.text)
    for volume in measurement.volumes:
        warnings = volume.provenance.get("warnings", ())
        lines += [str(warning) for warning in warnings] if isinstance(warnings, (list, tuple)) else []
    return lines + interval_sentences(measurement.volumes)


def comparison(measurement: Measurement) -> list[str]:
    """How the two volumes differ; empty for one."""
    return agreement_sentences(measurement.agreement)


def comparison_title(measurement: Measurement) -> str:
    """Heading of :func:`comparison`."""
    first, second = measurement.volumes[0].kind, measurement.volumes[-1].kind
    return f"{first.capitalize()} against {second}"


def sheet(measurement: Measurement) -> tuple[SheetItem, ...]:
    """Acquisition sheet of the first volume, without the lines that are among the verdicts."""
    shown = {"Lung mask", "Location of emphysema"}
    return tuple(item for item in measurement.volume.sheet if item.name not in shown)


def methods(measurement: Measurement) -> str:
    """Methods text to paste into a paper."""
    first = measurement.volume.ct
    k, j, i = first.geometry.spacing
    kernel = first.acquisition.kernel or "an unstated kernel"
    text = (
        f"Chest CT reconstructed with {kernel} (voxels {j:.2f} × {i:.2f} × {k:.2f} mm) was analysed. Lungs were segmented "
        "by thresholding at -400 HU on a 2 mm grid, refined at full resolution; trachea and bronchi were removed by "
        "region growing with leak control, vessels kept, consolidation and masses left out. "
    )
    normalized = [volume for volume in measurement.volumes if volume.synthetic]
    if normalized:
        named = [str(volume.provenance.get("method", "kernel normalization")) for volume in normalized]
        text += f"The volume was normalized to the kernel B20f ({', '.join(dict.fromkeys(named))}). "
    if measurement.compared is not None:
        text += "Both volumes were measured on the same lung mask. "
    text += (
        f"Emphysema is lung strictly below {measurement.threshold_hu:g} HU, voxel by voxel; the emphysema index (EI) is "
        "100 × emphysema volume (EV) / total lung volume (TLV). Perc15 is the 15th percentile of lung density, MLD the mean. "
        "The rind is lung near its surface, the core the rest. Clusters are face-connected in 3D; D is the exponent of their "
        "cumulative size distribution. Software: "
        f"CTKernelNormalization {VERSION}."
    )
    return text


def provenance(measurement: Measurement) -> list[str]:
    """Versions and hashes that reproduce the numbers."""
    lines = [f"CTKernelNormalization {VERSION}, SimpleITK {sitk.Version.VersionString()}, NumPy {np.__version__}"]
    for volume in measurement.volumes:
        lines += _normalization(volume, named=sum(v.synthetic for v in measurement.volumes) > 1)
    uid = measurement.volume.ct.acquisition.series_instance_uid
    if uid:
        lines.append(f"Series {uid}")
    lines.append(
        f"Threshold {measurement.threshold_hu:g} HU, strictly below; thirds of equal {measurement.settings.thirds_by}; "
        f"rind within {RIND_MM:g} mm of the surface of a lung."
    )
    return lines


def _normalization(volume: VolumeMeasurement, named: bool) -> list[str]:
    of = f" of {volume.name}" if named else ""
    found = [f"{key}: {volume.provenance[key]}" for key in _RECORDED if key in volume.provenance]
    lines = [f"Normalization{of}: " + ", ".join(found)] if found else []
    if "model_sha256" in volume.provenance:
        lines.append(f"Model weights{of} SHA-256 {volume.provenance['model_sha256']}")
    short = short_form(volume.provenance)
    return lines if short is None else [*lines, f"Record{of}: {short}; the whole record is the .provenance.json of the volume"]
