"""The indices as text, HTML and CSV; no patient data, research use named in each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from KernelNormalizationLib.core.plain_text import for_html
from KernelNormalizationLib.mrml.provenance import RESEARCH_USE_TEXT

from ..core.results.measurement import Measurement, VolumeMeasurement
from ..core.results.wording import (
    SHOWN_INDICES,
    VERDICT_WORDS,
    agreement_sentences,
    airways_sentence,
    interval_sentences,
    interval_words,
    mask_sentence,
    shown_name,
)

# Needs SimpleITK, which would slow down the start of the application: the functions below import it.
if TYPE_CHECKING:
    from ..core.results.table import Row


@dataclass(frozen=True)
class Summary:
    """What the panel shows and hands out of a quantification; a scene keeps it as text.

    Attributes:
        headline: the emphysema index in large type, HTML.
        text: the report in plain text.
        csv: the report as CSV.
    """

    headline: str
    text: str
    csv: str

    @classmethod
    def of(cls, result: Measurement) -> Summary:
        """Summary of ``result``."""
        return cls(headline(result), asText(result), asCsv(result))

    @classmethod
    def fromLine(cls, line: str) -> Summary | None:
        """What :meth:`asLine` wrote; ``None`` for an empty line."""
        return cls(**json.loads(line)) if line else None

    def asLine(self) -> str:
        """One line: scene files keep no line breaks in attributes."""
        return json.dumps(asdict(self), ensure_ascii=False)


def resultRows(result: Measurement) -> list[Row]:
    """The rows of the panel's table, one a volume and region (lungs and lobes); the files also hold thirds, core and rind."""
    from ..core.results.table import measurement_rows

    return measurement_rows(result, main_only=True)


def headline(result: Measurement) -> str:
    """The emphysema index of each volume in large type, as HTML."""
    lines = [_large(volume) for volume in result.volumes]
    lines += [_escaped(line) for line in interval_sentences(result.volumes)]
    if result.agreement is not None:
        agreement = result.agreement
        lines.append(
            f"ΔEI {agreement.delta_ei_points:+.1f} percentage points · Dice {agreement.dice:.2f} · "
            f"L1 in lungs {agreement.l1_lung_hu:.1f} HU · removed {agreement.removed_ml:.0f} mL · "
            f"kept {agreement.kept_ml:.0f} mL"
        )
    quality = result.lung_mask.quality
    if quality.verdict != "ok":
        lines.append(f"<b>Lung mask: {VERDICT_WORDS[quality.verdict]}.</b> {_escaped(' '.join(quality.reasons))}")
    lines.append(airways_sentence(result.volume.airways_ml))
    lines.append(f"Threshold {result.threshold_hu:g} HU. {RESEARCH_USE_TEXT}")
    return "<br>".join(lines)


def asText(result: Measurement) -> str:
    """A table in plain text."""
    lines = [f"Emphysema quantification, threshold {result.threshold_hu:g} HU", RESEARCH_USE_TEXT, ""]
    for volume in result.volumes:
        lines.append(shown_name(volume))
        lines.append("  " + "region".ljust(18) + "".join(label.rjust(13) for label, _, _ in SHOWN_INDICES))
        for entry in volume.indices:
            values = "".join(format(getattr(entry, field), form).rjust(13) for _, field, form in SHOWN_INDICES)
            lines.append("  " + entry.region.ljust(18) + values)
        lines.append("")
    spoken = [*interval_sentences(result.volumes), *agreement_sentences(result.agreement)]
    lines += [*spoken, airways_sentence(result.volume.airways_ml), mask_sentence(result.lung_mask.quality)]
    return "\n".join(lines) + "\n"


def asCsv(result: Measurement) -> str:
    """The command line's ``metrics.csv``: every volume and region with all digits."""
    from ..core.results.table import csv_text, measurement_rows

    return csv_text(measurement_rows(result))


def _large(volume: VolumeMeasurement) -> str:
    whole = volume.whole
    interval = f" ({interval_words(volume.interval)})" if volume.interval is not None else ""
    return (
        f'<span style="font-size:x-large; font-weight:bold">EI {whole.ei_percent:.1f} %</span>{interval} '
        f"of {whole.tlv_ml:.0f} mL – {_escaped(shown_name(volume))}"
    )


def _escaped(text: str) -> str:
    return for_html(text)
