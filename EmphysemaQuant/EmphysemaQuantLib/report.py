"""The indices as text, HTML and CSV; no patient data, research use named in each."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass

from KernelNormalizationLib.attributes import RESEARCH_USE_TEXT

from .analysis import Quantification, VolumeResult
from .core.table import safe_cell
from .tables import COLUMNS, REGION_NAMES


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


def headline(result: Quantification) -> str:
    """The emphysema index of each volume in large type, as HTML."""
    lines = [_large(volume) for volume in result.results]
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
    lines.append(f"Threshold {result.threshold_hu:g} HU. {RESEARCH_USE_TEXT}")
    return "<br>".join(lines)


def asText(result: Quantification) -> str:
    """A table in plain text."""
    lines = [f"Emphysema quantification, threshold {result.threshold_hu:g} HU", RESEARCH_USE_TEXT, ""]
    for volume in result.results:
        lines.append(volume.name + (" [synthetic]" if volume.synthetic else ""))
        lines.append("  " + "Region".ljust(12) + "".join(column.title.rjust(13) for column in COLUMNS))
        for entry in volume.indices:
            values = "".join(f"{getattr(entry, column.field):13.2f}" for column in COLUMNS)
            lines.append("  " + REGION_NAMES.get(entry.region, entry.region).ljust(12) + values)
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
    quality = result.lung_mask.quality
    lines.append(f"Lung mask: {quality.verdict}" + (f" ({' '.join(quality.reasons)})" if quality.reasons else ""))
    return "\n".join(lines) + "\n"


def asCsv(result: Quantification) -> str:
    """One row a volume and region, units in the header; a spreadsheet runs no name as a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["Volume", "Synthetic", "Region", "Threshold (HU)", *(column.title for column in COLUMNS), "Use"])
    for volume in result.results:
        for entry in volume.indices:
            values = [f"{getattr(entry, column.field):.4f}" for column in COLUMNS]
            region = REGION_NAMES.get(entry.region, entry.region)
            start = [safe_cell(volume.name), volume.synthetic, region, f"{result.threshold_hu:g}"]
            writer.writerow([*start, *values, RESEARCH_USE_TEXT])
    return out.getvalue()


def _large(volume: VolumeResult) -> str:
    whole = volume.whole
    kind = " (synthetic)" if volume.synthetic and "synthetic" not in volume.name else ""
    return (
        f'<span style="font-size:x-large; font-weight:bold">EI {whole.ei_percent:.1f} %</span> '
        f"of {whole.tlv_ml:.0f} mL – {_escaped(volume.name)}{kind}"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
