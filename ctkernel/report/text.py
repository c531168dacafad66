"""Sentences of a report: headline, verdicts, comparison, methods and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import SimpleITK as sitk

from EmphysemaQuantLib.core.indices.regions import RIND_MM
from EmphysemaQuantLib.core.results.acquisition_sheet import SheetItem, is_sharp, location_reliable
from EmphysemaQuantLib.core.results.table import interval_sentence
from KernelNormalizationLib.core.io.writing import RESEARCH_USE
from KernelNormalizationLib.core.methods.registry import VERSION

from .results import Kind, Report

VERDICT_WORDS = {"ok": "Lung mask: ok", "look": "Lung mask: look at it", "failed": "Lung mask: FAILED, do not use"}
_DISTRIBUTION = "ctkernelnormalization"


# How each volume is spoken of beside a picture or a number.
KIND_WORDS: Mapping[Kind, str] = {"raw": "as reconstructed", "normalized": "synthetic B20f", "compared": "compared"}


def headline(report: Report) -> str:
    """The result in one line."""
    parts = [f"{panel.whole.ei_percent:.2f} % {KIND_WORDS[kind]}" for kind, panel in report.panels]
    text = f"EI {', '.join(parts)}"
    if report.interval is not None:
        text += f"; 95 % interval {report.interval.low:.1f} to {report.interval.high:.1f} %"
    return text if len(parts) > 1 else f"{text}, of {report.raw_panel.whole.tlv_ml / 1000:.2f} L"


def verdicts(report: Report) -> list[str]:
    """What limits the numbers, most important first."""
    quality = report.lung_mask.quality
    lines = [VERDICT_WORDS[quality.verdict] + (". " + " ".join(quality.reasons) if quality.reasons else ".")]
    panel = report.partner_panel or report.raw_panel
    if report.partner_panel is None and is_sharp(report.raw):
        lines.append(
            f"Sharp kernel {report.raw.acquisition.kernel}: noise counts as emphysema, so EI is too high and its place "
            "unreliable; normalize the volume first."
        )
    elif not location_reliable(panel.whole.ei_percent):
        lines.append(
            f"Location unreliable: at EI ≤ 5 % (here {panel.whole.ei_percent:.1f} %) the emphysema mask is a few isolated "
            "voxels; trust the index, not the place."
        )
    if report.raw_panel.floor.floor_hu is not None:
        lines.append(report.raw_panel.floor.text)
    warnings = report.provenance.get("warnings", ())
    lines += [str(w) for w in warnings] if isinstance(warnings, (list, tuple)) else []
    return lines + interval_lines(report)


def interval_lines(report: Report) -> list[str]:
    """What the interval of the normalized EI rests on, or that there is none; empty without a normalized volume."""
    if report.normalized_panel is None:
        return []
    return [interval_sentence(report.interval)]


def comparison(report: Report) -> list[str]:
    """How the two volumes differ; empty for one."""
    a = report.agreement
    if a is None:
        return []
    return [
        f"EI change {a.delta_ei_points:+.2f} points; Dice of the emphysema masks {a.dice:.2f}.",
        f"Emphysema kept {a.kept_ml:.0f} mL, removed {a.removed_ml:.0f} mL, added {a.added_ml:.0f} mL.",
        f"Mean |difference| {a.l1_image_hu:.1f} HU (image), {a.l1_body_hu:.1f} HU (body), {a.l1_lung_hu:.1f} HU (lungs).",
    ]


def comparison_title(report: Report) -> str:
    """Heading of :func:`comparison`."""
    first, second = report.kinds[0], report.kinds[-1]
    return f"{first.capitalize()} against {second}"


def sheet(report: Report) -> tuple[SheetItem, ...]:
    """Acquisition sheet of the scan as reconstructed, without the line that the verdicts already hold."""
    said = {"Lung mask", "Location of emphysema"}
    return tuple(item for item in report.raw_panel.sheet if item.name not in said)


def methods(report: Report) -> str:
    """Methods text to paste into a paper."""
    a = report.raw.acquisition
    k, j, i = report.raw.geometry.spacing
    kernel = a.kernel or "an unstated kernel"
    text = (
        f"Chest CT reconstructed with {kernel} (voxels {j:.2f} × {i:.2f} × {k:.2f} mm) was analysed. Lungs were segmented "
        "by thresholding at -400 HU on a 2 mm grid, refined at full resolution; trachea and bronchi were removed by "
        "region growing with leak control, vessels kept, consolidation and masses left out. "
    )
    if report.normalized_panel is not None:
        method = report.provenance.get("method", "kernel normalization")
        text += f"The volume was normalized to the kernel B20f ({method}). "
    if report.partner is not None:
        text += "One lung mask served both volumes. "
    text += (
        f"Emphysema is lung strictly below {report.raw_panel.threshold_hu:g} HU, voxel by voxel; the emphysema index (EI) is "
        "100 × emphysema volume (EV) / total lung volume (TLV). Perc15 is the 15th percentile of lung density, MLD the mean. "
        "The rind is lung near its surface, the core the rest. Clusters are face-connected in 3D; D is the exponent of their "
        "cumulative size distribution. Software: "
        f"CTKernelNormalization {product_version()}."
    )
    return text


def provenance(report: Report) -> list[str]:
    """Versions and hashes that reproduce the numbers."""
    lines = [f"CTKernelNormalization {product_version()}, SimpleITK {sitk.Version.VersionString()}, NumPy {np.__version__}"]
    kept = ("method", "model", "backend", "device", "version")
    found = [f"{key}: {report.provenance[key]}" for key in kept if key in report.provenance]
    if found:
        lines.append("Normalization: " + ", ".join(found))
    if "model_sha256" in report.provenance:
        lines.append(f"Model weights SHA-256 {report.provenance['model_sha256']}")
    uid = report.raw.acquisition.series_instance_uid
    if uid:
        lines.append(f"Series {uid}")
    lines.append(
        f"Threshold {report.raw_panel.threshold_hu:g} HU, strictly below; thirds of equal {report.thirds_by}; "
        f"rind within {RIND_MM:g} mm of the surface of a lung."
    )
    return lines


def product_version() -> str:
    """Version of the product: the installed distribution's, else the code's own."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return VERSION


FOOTER = RESEARCH_USE
