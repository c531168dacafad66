"""The indices as text and CSV; no patient data, research use named in each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from KernelNormalizationLib.mrml.provenance import RESEARCH_USE_TEXT

from ..core.results.measurement import Measurement
from ..core.results.wording import (
    SHOWN_INDICES,
    agreement_sentences,
    airways_sentence,
    gate_sentences,
    interval_sentences,
    mask_sentence,
    shown_name,
)


@dataclass(frozen=True)
class Summary:
    """What the panel shows and hands out of a quantification; a scene keeps it as text.

    Attributes:
        text: the report in plain text.
        csv: the report as CSV.
    """

    text: str
    csv: str

    @classmethod
    def of(cls, result: Measurement) -> Summary:
        """Summary of ``result``."""
        return cls(asText(result), asCsv(result))

    @classmethod
    def fromLine(cls, line: str) -> Summary | None:
        """What :meth:`asLine` wrote; ``None`` for an empty line."""
        return cls(**json.loads(line)) if line else None

    def asLine(self) -> str:
        """One line: scene files keep no line breaks in attributes."""
        return json.dumps(asdict(self), ensure_ascii=False)


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
    lines += [
        *gate_sentences(result.volumes),
        *spoken,
        airways_sentence(result.volume.airways_ml),
        mask_sentence(result.lung_mask.quality),
    ]
    return "\n".join(lines) + "\n"


def asCsv(result: Measurement) -> str:
    """The command line's ``metrics.csv``: every volume and region with all digits."""
    from ..core.results.table import csv_text, measurement_rows

    return csv_text(measurement_rows(result))
