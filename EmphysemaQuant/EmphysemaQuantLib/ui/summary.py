"""The indices as text, HTML and CSV; no patient data, research use named in each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from KernelNormalizationLib.mrml.provenance import RESEARCH_USE_TEXT

from ..core.results.quantification import Quantification, VolumeResult

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
    def of(cls, result: Quantification) -> Summary:
        """Summary of ``result``."""
        return cls(headline(result), asText(result), asCsv(result))

    @classmethod
    def fromLine(cls, line: str) -> Summary | None:
        """What :meth:`asLine` wrote; ``None`` for an empty line."""
        return cls(**json.loads(line)) if line else None

    def asLine(self) -> str:
        """One line: scene files keep no line breaks in attributes."""
        return json.dumps(asdict(self), ensure_ascii=False)


def resultRows(result: Quantification) -> list[Row]:
    """The rows of every table of ``result``, one a volume and region, as the command line's ``metrics.csv`` has them."""
    from ..core.results.table import MaskNote, volume_rows

    verdict = result.lung_mask.quality.verdict
    rows: list[Row] = []
    for volume, kind in zip(result.results, _kinds(result), strict=True):
        note = MaskNote(verdict, volume.airways_ml)
        rows += volume_rows(volume.name, kind, volume.synthetic, volume.indices, note, volume.interval)
    return rows


def headline(result: Quantification) -> str:
    """The emphysema index of each volume in large type, as HTML."""
    from ..core.results.table import airways_sentence, interval_sentence

    lines = [_large(volume) for volume in result.results]
    lines += [_escaped(interval_sentence(volume.interval)) for volume in result.results if volume.synthetic]
    if result.agreement is not None:
        agreement = result.agreement
        lines.append(
            f"ΔEI {agreement.delta_ei_points:+.1f} percentage points · Dice {agreement.dice:.2f} · "
            f"L1 in lungs {agreement.l1_lung_hu:.1f} HU · removed {agreement.removed_ml:.0f} mL · "
            f"kept {agreement.kept_ml:.0f} mL"
        )
    quality = result.lung_mask.quality
    if quality.verdict != "ok":
        lines.append(f"<b>Lung mask: {quality.verdict}.</b> {_escaped(' '.join(quality.reasons))}")
    lines.append(airways_sentence(result.volume.airways_ml))
    lines.append(f"Threshold {result.threshold_hu:g} HU. {RESEARCH_USE_TEXT}")
    return "<br>".join(lines)


def asText(result: Quantification) -> str:
    """A table in plain text."""
    from ..core.results.table import COLUMNS, MAIN_COLUMNS, airways_sentence, interval_sentence

    lines = [f"Emphysema quantification, threshold {result.threshold_hu:g} HU", RESEARCH_USE_TEXT, ""]
    for volume in result.results:
        lines.append(volume.name + (" [synthetic]" if volume.synthetic else ""))
        lines.append("  " + "region".ljust(12) + "".join(title.rjust(13) for title in MAIN_COLUMNS))
        for entry in volume.indices:
            values = "".join(f"{getattr(entry, COLUMNS[title]):13.2f}" for title in MAIN_COLUMNS)
            lines.append("  " + entry.region.ljust(12) + values)
        if volume.synthetic:
            lines.append(interval_sentence(volume.interval))
        lines.append("")
    if result.agreement is not None:
        agreement = result.agreement
        lines += [
            f"Delta EI {agreement.delta_ei_points:+.2f} percentage points, Dice {agreement.dice:.3f}",
            f"L1: image {agreement.l1_image_hu:.1f} HU, body {agreement.l1_body_hu:.1f} HU, "
            f"lungs {agreement.l1_lung_hu:.1f} HU",
            f"Emphysema kept {agreement.kept_ml:.1f} mL, removed {agreement.removed_ml:.1f} mL, "
            f"added {agreement.added_ml:.1f} mL",
            "",
        ]
    lines.append(airways_sentence(result.volume.airways_ml))
    quality = result.lung_mask.quality
    lines.append(f"Lung mask: {quality.verdict}" + (f" ({' '.join(quality.reasons)})" if quality.reasons else ""))
    return "\n".join(lines) + "\n"


def asCsv(result: Quantification) -> str:
    """The same rows and columns as the command line's ``metrics.csv``."""
    from ..core.results.table import csv_text

    return csv_text(resultRows(result))


def _kinds(result: Quantification) -> list[str]:
    kinds = ["normalized" if volume.synthetic else "raw" for volume in result.results]
    return [kind if kind not in kinds[:number] else "compared" for number, kind in enumerate(kinds)]


def _large(volume: VolumeResult) -> str:
    from ..core.results.table import interval_words

    whole = volume.whole
    kind = " (synthetic)" if volume.synthetic and "synthetic" not in volume.name else ""
    interval = f" ({interval_words(volume.interval)})" if volume.interval is not None else ""
    return (
        f'<span style="font-size:x-large; font-weight:bold">EI {whole.ei_percent:.1f} %</span>{interval} '
        f"of {whole.tlv_ml:.0f} mL – {_escaped(volume.name)}{kind}"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
