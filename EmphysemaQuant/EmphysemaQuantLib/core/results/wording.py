"""The sentences about a measurement, the same on panel, command line and report, with the precision the numbers have.

Percentages have one decimal, volumes whole mL, HU whole numbers (mean differences one decimal); CSV and JSON files hold all
digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..indices.agreement import Agreement
    from ..indices.prediction_interval import EIInterval
    from ..lungs.quality_verdict import MaskQuality
    from .measurement import VolumeMeasurement

VERDICT_WORDS = {"ok": "ok", "look": "look at it", "failed": "failed, do not use"}
# Label, field of RegionIndices and format of the indices that are shown.
SHOWN_INDICES = (
    ("EI (%)", "ei_percent", ".1f"),
    ("EV (mL)", "ev_ml", ".0f"),
    ("TLV (mL)", "tlv_ml", ".0f"),
    ("Perc15 (HU)", "perc15_hu", ".0f"),
    ("MLD (HU)", "mld_hu", ".0f"),
)


def kind_words(volume: VolumeMeasurement) -> str:
    """How a volume is called beside a picture or a number."""
    words = "synthetic B20f" if volume.synthetic else "as reconstructed"
    return f"compared, {words}" if volume.kind == "compared" else words


def shown_name(volume: VolumeMeasurement) -> str:
    """The volume's name; a file's name may lack the word "synthetic"."""
    return f"{volume.name} (synthetic)" if volume.synthetic and "synthetic" not in volume.name else volume.name


def interval_words(interval: EIInterval) -> str:
    """The interval beside its EI."""
    return f"95 % interval {interval.low:.1f} to {interval.high:.1f} %"


def interval_sentences(volumes: tuple[VolumeMeasurement, ...]) -> list[str]:
    """A sentence on the interval of each synthetic volume's EI and its basis, or that there is none; none for an original."""
    synthetic = [volume for volume in volumes if volume.synthetic]
    named = len(synthetic) > 1
    return [(f"{v.name}: " if named else "") + interval_sentence(v.interval) for v in synthetic]


def interval_sentence(interval: EIInterval | None) -> str:
    """A sentence on the interval of a normalized EI and its basis, or that there is none."""
    if interval is None:
        return "No measured error is known for this method, model and threshold, so EI is given without an interval."
    return f"95 % interval of the normalized EI: {interval.low:.1f} to {interval.high:.1f} %, from {interval.basis}."


def gate_sentences(volumes: tuple[VolumeMeasurement, ...]) -> list[str]:
    """What the normalization's gate says of each original, with all its reasons."""
    judged = [(volume, volume.suitability) for volume in volumes if volume.suitability is not None]
    named = len(judged) > 1
    return [
        (f"{volume.name}: " if named else "") + " ".join([f"Verdict: {found.verdict}.", *found.reasons])
        for volume, found in judged
        if found is not None
    ]


def airways_sentence(airways_ml: float | None) -> str:
    """How much airway was left out of the lungs, or that none was."""
    if airways_ml is None:
        return "This lung mask has no airways; air of bronchi inside it counts as lung."
    return f"Airways left out of the lungs: {airways_ml:.0f} mL (lumen of trachea and bronchi)."


def mask_sentence(quality: MaskQuality) -> str:
    """The verdict on the lung mask with its reasons."""
    reasons = " ".join(quality.reasons)
    return f"Lung mask: {VERDICT_WORDS[quality.verdict]}. {reasons}".rstrip()


def agreement_sentences(agreement: Agreement | None) -> list[str]:
    """How the second volume differs from the first; none for one volume."""
    a = agreement
    if a is None:
        return []
    return [
        f"EI change {a.delta_ei_points:+.1f} percentage points; Dice of the emphysema masks {a.dice:.2f}.",
        f"Emphysema kept {a.kept_ml:.0f} mL, removed {a.removed_ml:.0f} mL, added {a.added_ml:.0f} mL.",
        f"Mean absolute difference (L1): image {a.l1_image_hu:.1f}, body {a.l1_body_hu:.1f}, lungs {a.l1_lung_hu:.1f} HU.",
    ]
