"""Overview of a measurement in the panel: EI of each volume, a small table and a legend; the rest under Details."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from KernelNormalizationLib.core.methods.protocol import name_beside_kind
from KernelNormalizationLib.core.plain_text import for_html, shortened
from KernelNormalizationLib.mrml.provenance import RESEARCH_USE_TEXT, isSynthetic

from ..core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from ..core.results.measurement import Measurement, VolumeMeasurement
from ..core.results.wording import (
    VERDICT_WORDS,
    airways_sentence,
    gate_sentences,
    interval_sentence,
    interval_words,
    mask_sentence,
)
from ..mrml.segments import (
    AIRWAYS,
    CHANGE,
    COMPARED,
    COMPARED_REFERENCE_ROLE,
    EMPHYSEMA,
    LEFT,
    PREVIEW_COLOR,
    RIGHT,
    VOLUME_REFERENCE_ROLE,
    SegmentStyle,
    segmentIds,
)
from ..mrml.volume_pairs import inReadingOrder as nodesInReadingOrder
from ..mrml.volume_pairs import isReversed

if TYPE_CHECKING:
    from ..core.indices.density import RegionIndices
    from ..core.indices.prediction_interval import EIInterval

REGIONS = {"whole": "Both lungs", "right": "Right", "left": "Left"}
FIGURES = {
    "ei_percent": ("EI", "%", ".1f"),
    "ev_ml": ("EV", "mL", ".0f"),
    "tlv_ml": ("TLV", "mL", ".0f"),
    "perc15_hu": ("Perc15", "HU", ".1f"),
    "mld_hu": ("MLD", "HU", ".1f"),
}


class ShownVolume(Protocol):
    """What the headline needs of a volume."""

    @property
    def name(self) -> str: ...
    @property
    def synthetic(self) -> bool: ...
    @property
    def interval(self) -> EIInterval | None: ...
    @property
    def indices(self) -> Sequence[RegionIndices]: ...
    @property
    def whole(self) -> RegionIndices: ...


@dataclass(frozen=True)
class Headline:
    """The texts of a result, HTML; a scene keeps them as one line.

    Attributes:
        lines: EI of each volume in large type, their difference, and a warning if the lung mask is doubtful.
        table: region by index, scan and normalized side by side.
        details: interval, agreement, lung mask, airways and threshold in words.
        millilitres: role of an emphysema segment -> mL, for the legend.
    """

    lines: str
    table: str
    details: str
    millilitres: dict[str, float]

    @classmethod
    def of(cls, result: Measurement) -> Headline:
        """Headline of ``result``."""
        volumes = inReadingOrder(result)
        verdict = result.lung_mask.quality.verdict
        return cls.ofVolumes(volumes, result.threshold_hu, verdict, _details(result, volumes), _millilitres(result))

    @classmethod
    def ofVolumes(
        cls, volumes: Sequence[ShownVolume], thresholdHu: float, verdict: str, details: str, millilitres: dict[str, float]
    ) -> Headline:
        """Headline of one or two volumes in reading order, measured now or read from a saved table."""
        return cls(_lines(volumes, thresholdHu, verdict), _table(volumes), details, millilitres)

    @classmethod
    def fromLine(cls, line: str) -> Headline | None:
        """What :meth:`asLine` wrote; ``None`` for an empty line, or one of a version that wrote something else."""
        try:
            told = cls(**json.loads(line)) if line else None
        except (TypeError, ValueError):
            return None
        return told if told is not None and told.isWellFormed() else None

    def isWellFormed(self) -> bool:
        """Whether every entry, which may come from a scene that another program wrote, is of its kind."""
        texts = all(isinstance(text, str) for text in (self.lines, self.table, self.details))
        amounts = self.millilitres.values() if isinstance(self.millilitres, dict) else [None]
        return texts and all(isinstance(amount, int | float) for amount in amounts)

    def asLine(self) -> str:
        """One line: scene files keep no line breaks in attributes."""
        return json.dumps(asdict(self), ensure_ascii=False)


def inReadingOrder(result: Measurement) -> tuple[VolumeMeasurement, ...]:
    """The one or two measured volumes, the original before the synthetic one."""
    volumes = result.results
    return volumes[::-1] if len(volumes) == 2 and isReversed(volumes[0].synthetic, volumes[1].synthetic) else volumes


def legend(segmentation: Any, headline: Headline, change: bool) -> str:
    """Legend of the views, HTML: colour, name and mL of each segment."""
    pair = bool(segmentIds(segmentation, COMPARED.role))
    if change and pair:
        removed, *others = (_entry(segmentation, style, _name(segmentation, style), headline) for style in CHANGE)
        lines = [removed, " &nbsp; ".join(filter(None, others))]
    else:
        owners = [_entry(segmentation, style, name, headline) for style, name in _owners(segmentation)]
        lines = [("Emphysema: " if pair else "") + " &nbsp; ".join(owners)]
    lungs = [_entry(segmentation, style, _name(segmentation, style), headline) for style in (RIGHT, LEFT, AIRWAYS)]
    return "<br>".join([*filter(None, lines), " &nbsp; ".join(filter(None, lungs))])


def previewLegend(thresholdHu: float) -> str:
    """Legend while the threshold is moved, HTML; the figures remain those of the measurement."""
    code = "#" + "".join(f"{round(255 * part):02x}" for part in PREVIEW_COLOR)
    swatch = f'<span style="color:{code}">■</span>'
    return (
        f"{swatch} Preview: below {thresholdHu:g} HU; each view shows its own volume.<br>"
        "The figures above are not of this threshold."
    )


def _owners(segmentation: Any) -> list[tuple[SegmentStyle, str]]:
    """The emphysema segments and whose they are, in reading order."""
    volume = segmentation.GetNodeReference(VOLUME_REFERENCE_ROLE)
    compared = segmentation.GetNodeReference(COMPARED_REFERENCE_ROLE)
    if volume is None or compared is None:
        return [(EMPHYSEMA, _name(segmentation, EMPHYSEMA))]
    styles = {volume.GetID(): EMPHYSEMA, compared.GetID(): COMPARED}
    ordered = nodesInReadingOrder(volume, compared)
    kinds = ["synthetic" if isSynthetic(node) else "original" for node in ordered]
    names = kinds if kinds[0] != kinds[1] else [shortened(node.GetName(), 14) for node in ordered]
    return [(styles[node.GetID()], name) for node, name in zip(ordered, names, strict=True)]


def _name(segmentation: Any, style: SegmentStyle) -> str:
    ids = segmentIds(segmentation, style.role)
    return shortened(str(segmentation.GetSegmentation().GetSegment(ids[0]).GetName()), 44) if ids else ""


def _entry(segmentation: Any, style: SegmentStyle, name: str, headline: Headline) -> str:
    ids = segmentIds(segmentation, style.role)
    if not ids:
        return ""
    color = segmentation.GetSegmentation().GetSegment(ids[0]).GetColor()
    code = "#" + "".join(f"{round(255 * part):02x}" for part in color)
    amount = f" {headline.millilitres[style.role]:.0f} mL" if style.role in headline.millilitres else ""
    return f'<span style="color:{code}">■</span> {for_html(name)}{amount}'


def _lines(volumes: Sequence[ShownVolume], thresholdHu: float, verdict: str) -> str:
    lines = [_large(volume) for volume in volumes]
    if len(volumes) == 2:
        delta = volumes[1].whole.ei_percent - volumes[0].whole.ei_percent
        lines.append(f"<b>ΔEI {delta:+.1f} percentage points</b>")
    if thresholdHu != EMPHYSEMA_THRESHOLD_HU:
        lines.append(f"<b>Threshold {thresholdHu:g} HU</b>")
    if verdict != "ok":
        words = for_html(VERDICT_WORDS.get(verdict, verdict))
        lines.append(f"<b>Lung mask: {words}.</b> Read Details first.")
    return "<br>".join(lines)


def _large(volume: ShownVolume) -> str:
    name = name_beside_kind(volume.name) if volume.synthetic else volume.name
    kind = "Synthetic" if volume.synthetic else "Original"
    interval = f"({interval_words(volume.interval)}) " if volume.interval is not None else ""
    figure = f'<span style="font-size:x-large; font-weight:bold">EI {volume.whole.ei_percent:.1f} %</span>'
    beside = f"{interval}{kind}: {for_html(shortened(name, 22 if interval else 40))}"
    return f'{figure} <span style="font-size:small">{beside}</span>'


def _table(volumes: Sequence[ShownVolume]) -> str:
    titles = "".join(f"<td align='right'><b>{name}</b> ({unit})</td>" for name, unit, _ in FIGURES.values())
    rows = [f"<tr><td style='white-space:nowrap'>{_columns(volumes)}</td>{titles}</tr>"]
    for entries in zip(*(volume.indices for volume in volumes), strict=True):
        if entries[0].region in REGIONS:
            cells = "".join(f"<td align='right' style='white-space:nowrap'>{_cell(entries, field)}</td>" for field in FIGURES)
            rows.append(f"<tr><td>{REGIONS[entries[0].region].replace(' ', '&nbsp;')}</td>{cells}</tr>")
    table = f"<table cellspacing='0' cellpadding='1' width='100%'>{''.join(rows)}</table>"
    return f'<div style="font-size:small">{table}</div>'


def _columns(volumes: Sequence[ShownVolume]) -> str:
    if len(volumes) == 1:
        return ""
    if volumes[1].synthetic and not volumes[0].synthetic:
        return "scan | normalized"
    return "first | second"


def _cell(entries: Sequence[RegionIndices], field: str) -> str:
    values = [format(getattr(entry, field), FIGURES[field][2]) for entry in entries]
    if field == "tlv_ml" and len(set(values)) == 1:  # one lung mask serves both
        return values[0]
    return " | ".join(values).replace(" ", "&nbsp;")


def _details(result: Measurement, volumes: Sequence[VolumeMeasurement]) -> str:
    lines = [for_html(interval_sentence(volume.interval)) for volume in volumes if volume.synthetic]
    lines += [for_html(sentence) for sentence in gate_sentences(volumes)]
    if result.agreement is not None:
        agreement = result.agreement
        lines.append(f"Dice {agreement.dice:.2f}. L1 in lungs {agreement.l1_lung_hu:.1f} HU.")
    lines.append(for_html(mask_sentence(result.lung_mask.quality)))
    lines += [for_html(note) for note in result.lung_mask.notes]
    lines.append(airways_sentence(result.volume.airways_ml))
    lines.append(f"Threshold {result.threshold_hu:g} HU. {RESEARCH_USE_TEXT}")
    return "<br>".join(lines)


def _millilitres(result: Measurement) -> dict[str, float]:
    own = {EMPHYSEMA.role: float(result.volume.whole.ev_ml)}
    if result.compared is None or result.agreement is None:
        return own
    agreement = result.agreement
    change = [agreement.removed_ml, agreement.kept_ml, agreement.added_ml]
    if isReversed(result.volume.synthetic, result.compared.synthetic):
        change.reverse()
    named = {style.role: float(value) for style, value in zip(CHANGE, change, strict=True)}
    return own | {COMPARED.role: float(result.compared.whole.ev_ml)} | named
