"""Change of lung density between two dates, each scan on a lung mask of its own."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from EmphysemaQuantLib.core.indices.longitudinal import EI_LIMIT_POINTS, PERC15_ADJUSTED_LIMIT_HU, compare_dates
from EmphysemaQuantLib.core.lungs.quality_verdict import require_usable
from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.volume import CTVolume


def change_record(baseline: CTVolume, follow_up: CTVolume, threshold_hu: float, progress: Progress) -> dict[str, Any]:
    """Segment both scans and compare them; JSON-serializable.

    Args:
        baseline: the earlier scan.
        follow_up: the later scan.
        threshold_hu: HU of the emphysema index.
        progress: receives the steps of both lung masks.

    Returns:
        Names, kernels and mask verdicts of both scans, the change, and what makes it doubtful.

    Raises:
        LungNotFoundError: a scan shows no lung, or its mask's verdict is "failed".
    """
    scans = (baseline, follow_up)
    masks = [segment_lungs(volume, progress) for volume in scans]
    for mask in masks:
        require_usable(mask.quality)
    change = compare_dates((baseline, masks[0]), (follow_up, masks[1]), threshold_hu)
    described = [
        {"name": v.name, "kernel": v.acquisition.kernel, "synthetic": v.synthetic, "lung_mask": asdict(m.quality)}
        for v, m in zip(scans, masks, strict=True)
    ]
    return {
        "use": RESEARCH_USE,
        "baseline": described[0],
        "follow_up": described[1],
        "threshold_hu": threshold_hu,
        "change": asdict(change),
        "doubts": _doubts(baseline, follow_up),
    }


def change_lines(record: dict[str, Any]) -> list[str]:
    """The record in words."""
    change = record["change"]
    limits = f"a fall of adjusted Perc15 by {PERC15_ADJUSTED_LIMIT_HU:g} HU and a rise of EI by {EI_LIMIT_POINTS:g} points"
    verdict = "Beyond" if change["beyond_limits"] else "Within"
    masks = [
        f"Lung mask of {scan['name']}: {scan['lung_mask']['verdict']}" for scan in (record["baseline"], record["follow_up"])
    ]
    adjusted = f"{change['perc15_adjusted_change_hu']:+.0f} HU"
    return [
        f"TLV {change['tlv_change_ml']:+.0f} mL",
        f"Perc15 {change['perc15_change_hu']:+.0f} HU, adjusted to the baseline's volume {adjusted}",
        f"EI {change['ei_change_points']:+.1f} points, adjusted {change['ei_adjusted_change_points']:+.1f} points",
        f"{verdict} the limits of this project: {limits} (conventions, not a measured repeatability).",
        *masks,
        *record["doubts"],
    ]


def _doubts(baseline: CTVolume, follow_up: CTVolume) -> list[str]:
    if baseline.shape == follow_up.shape and np.array_equal(baseline.hu, follow_up.hu):
        return ["Both scans have the same voxels, so they are one scan and not two dates."]
    kernels = [volume.acquisition.kernel for volume in (baseline, follow_up)]
    if None in kernels:
        return ["A kernel is not stated: a change of kernel looks like a change of lung density."]
    if kernels[0] != kernels[1]:
        return [f"The kernels differ ({kernels[0]}, {kernels[1]}): normalize the sharp scan first, or both."]
    return []
