"""What is known of one quantified scan, or of a pair: everything that a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from EmphysemaQuantLib.core.indices.agreement import Agreement, compare_volumes
from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from EmphysemaQuantLib.core.indices.prediction_interval import EIInterval, interval_of_normalized
from EmphysemaQuantLib.core.indices.regions import Thirds
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.acquisition_sheet import Patient
from EmphysemaQuantLib.core.results.measurement import Panel, measure_panel
from KernelNormalizationLib.core.volume import CTVolume

Kind = Literal["raw", "normalized", "compared"]


@dataclass(frozen=True)
class Report:
    """Everything a report shows; build it with :func:`make_report`.

    Attributes:
        raw: the volume as reconstructed (or, alone, a normalized one).
        partner: a second volume on the same grid, its normalized one or another reconstruction, or ``None``.
        lung_mask: one mask for both.
        raw_panel: measurements on ``raw``.
        partner_panel: measurements on ``partner``, or ``None``.
        agreement: raw (reference) against the partner, or ``None``.
        provenance: record of the normalization (method, model hash, versions); empty without one.
        interval: interval of the normalized volume's EI, or ``None`` when no error is known.
        label: heading chosen by the caller; never taken from the scan.
        thirds_by: what the thirds are equal in.
    """

    raw: CTVolume
    partner: CTVolume | None
    lung_mask: LungMask
    raw_panel: Panel
    partner_panel: Panel | None
    agreement: Agreement | None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    interval: EIInterval | None = None
    label: str | None = None
    thirds_by: Thirds = "volume"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What each volume is: "raw" or "normalized", and "compared" for a second one of the same kind."""
        first: Kind = "normalized" if self.raw.synthetic else "raw"
        if self.partner is None:
            return (first,)
        second: Kind = "normalized" if self.partner.synthetic else "raw"
        return (first, "compared" if second == first else second)

    @property
    def panels(self) -> tuple[tuple[Kind, Panel], ...]:
        """Kind and measurements of the one or two volumes."""
        measured = (self.raw_panel,) if self.partner_panel is None else (self.raw_panel, self.partner_panel)
        return tuple(zip(self.kinds, measured, strict=True))

    @property
    def normalized_panel(self) -> Panel | None:
        """Measurements on the normalized volume, ``None`` when there is none."""
        return next((panel for kind, panel in self.panels if kind == "normalized"), None)

    @property
    def title(self) -> str:
        """Heading: the caller's label, or the volume's name."""
        return self.label or self.raw.name


def make_report(
    raw: CTVolume,
    lung_mask: LungMask,
    partner: CTVolume | None = None,
    *,
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    provenance: Mapping[str, Any] | None = None,
    patient: Patient | None = None,
    by: Thirds = "volume",
    label: str | None = None,
) -> Report:
    """Measure everything a report shows.

    Args:
        raw: the volume as reconstructed (or, alone, a normalized one).
        lung_mask: lungs of both volumes.
        partner: normalized or otherwise reconstructed volume on the same grid.
        threshold_hu: HU of the emphysema index.
        provenance: record of the normalization; it names the model whose errors give the interval of the EI.
        patient: sex, height and weight for the predicted lung volume.
        by: thirds of equal volume or equal height.
        label: heading instead of the volume's name; give a patient's name only if it may appear.

    Raises:
        InputError: the mask is empty, or the volumes do not share one grid.
        ModelError: the errors in the model's card are damaged.
    """
    agreement = None if partner is None else compare_volumes(raw, partner, lung_mask, threshold_hu)
    report = Report(
        raw=raw,
        partner=partner,
        lung_mask=lung_mask,
        raw_panel=measure_panel(raw, lung_mask, threshold_hu, by, patient),
        partner_panel=None if partner is None else measure_panel(partner, lung_mask, threshold_hu, by, patient),
        agreement=agreement,
        provenance=dict(provenance or {}),
        label=label,
        thirds_by=by,
    )
    normalized = report.normalized_panel
    if normalized is None:
        return report
    interval = interval_of_normalized(normalized.whole.ei_percent, report.provenance, threshold_hu)
    return replace(report, interval=interval)
