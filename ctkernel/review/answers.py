"""The answers of the server to the page: texts and numbers of a review, ready to show."""

from __future__ import annotations

from typing import Any

from EmphysemaQuantLib.core.indices.distribution import HISTOGRAM_EDGES_HU
from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, THRESHOLD_RANGE_HU
from EmphysemaQuantLib.core.results.measurement import Measurement, VolumeMeasurement
from EmphysemaQuantLib.core.results.wording import (
    SHOWN_INDICES,
    agreement_sentences,
    airways_sentence,
    interval_sentences,
    interval_words,
    kind_words,
    mask_sentence,
)
from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.kernels.told_kernel import kernel_in_use
from KernelNormalizationLib.core.methods.protocol import METHOD_TEXTS
from KernelNormalizationLib.core.suitability import Suitability
from KernelNormalizationLib.core.volume import CTVolume

from ..quantification_files import kernel_lines
from .pictures import layout
from .steps import Curve, Review

# Traffic light of the verdict: colour class of the page, never the only bearer of the meaning.
LIGHTS = {"in domain": "good", "untested": "doubtful", "already smooth": "doubtful", "refuse": "bad"}


def start_facts() -> dict[str, Any]:
    """What the page needs before a scan is open."""
    low, high = THRESHOLD_RANGE_HU
    return {
        "use": RESEARCH_USE,
        "methods": [{"name": name, "text": text} for name, text in METHOD_TEXTS.items()],
        "threshold": {"low": low, "high": high, "default": EMPHYSEMA_THRESHOLD_HU},
    }


def review_facts(review: Review) -> dict[str, Any]:
    """A review as JSON: scan, verdict, volumes and measurement."""
    return {
        "card": _card(review.original, review.suitability),
        "layout": layout(review.original),
        "opened": review.opened,
        "drawn": review.drawn,
        "volumes": [_volume(volume) for volume in review.volumes],
        "measurement": None if review.measurement is None else _measurement(review.measurement, review),
        "note": review.note,
    }


def _card(volume: CTVolume, suitability: Suitability | None) -> dict[str, Any]:
    facts = volume.acquisition
    kernel = kernel_in_use(facts) or "not stated"
    if facts.told_kernel is not None:
        kernel += f" (named by you; header: {facts.kernel or 'none'})"
    slices, rows, columns = layout(volume)["shape"]
    between, pixel, _ = layout(volume)["spacing_mm"]
    rows_of_card = [
        ("Kernel", kernel),
        ("Scanner", " ".join(text for text in (facts.manufacturer, facts.scanner_model) if text) or "not stated"),
        ("Slices", f"{slices}, {facts.slice_thickness_mm or between:.3g} mm thick, every {between:.3g} mm"),
        ("Pixels", f"{columns} × {rows}, {pixel:.3g} mm"),
    ]
    if suitability is None:
        return {"rows": rows_of_card, "verdict": "not judged", "light": "doubtful", "reasons": []}
    if suitability.sharpness is not None:
        rows_of_card.append(("Noise", f"as sharp as B{suitability.sharpness.kernel_number:.0f}f"))
    rows_of_card.append(("At the HU floor", f"{100.0 * suitability.lung_floor_share:.1f} % of the lung"))
    return {
        "rows": rows_of_card,
        "verdict": suitability.verdict,
        "light": LIGHTS[suitability.verdict],
        "reasons": list(suitability.reasons),
    }


def _volume(volume: CTVolume) -> dict[str, Any]:
    kernel = volume.acquisition.kernel or "kernel not stated"
    if not volume.synthetic:
        return {"synthetic": False, "title": f"As reconstructed, {kernel}"}
    return {"synthetic": True, "title": "SYNTHETIC B20f, computed, not reconstructed"}


def _measurement(measurement: Measurement, review: Review) -> dict[str, Any]:
    return {
        "threshold_hu": measurement.threshold_hu,
        "volumes": [_numbers(volume, curve) for volume, curve in zip(measurement.volumes, review.curves, strict=True)],
        "columns": [label for label, _, _ in SHOWN_INDICES],
        "sentences": [
            *(str(warning) for warning in review.record.get("warnings", [])),
            *kernel_lines(measurement),
            *agreement_sentences(measurement.agreement),
            *interval_sentences(measurement.volumes),
            airways_sentence(measurement.volume.airways_ml),
            mask_sentence(measurement.lung_mask.quality),
            *measurement.lung_mask.notes,
        ],
        "histogram_edges_hu": HISTOGRAM_EDGES_HU.tolist(),
        "ml_per_voxel": measurement.volume.ct.geometry.voxel_volume_ml,
    }


def _numbers(volume: VolumeMeasurement, curve: Curve) -> dict[str, Any]:
    return {
        "kind": kind_words(volume),
        "synthetic": volume.synthetic,
        "ei_percent": volume.whole.ei_percent,
        "ei_text": f"{volume.whole.ei_percent:.1f}",
        "interval_text": None if volume.interval is None else interval_words(volume.interval),
        "rows": [
            [region.region, *(format(getattr(region, key), form) for _, key, form in SHOWN_INDICES)]
            for region in volume.indices
        ],
        "histogram_percent": [round(float(share), 4) for share in volume.histogram],
        "first_threshold_hu": curve[0][0],
        "ei_by_threshold": [f"{ei:.1f}" for _, ei in curve],
    }
