"""The indices as text and CSV; no patient data, research use named in each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from KernelNormalizationLib.mrml.provenance import RESEARCH_USE_TEXT

from ..core.results.measurement import Measurement
from ..core.results.wording import (
    SHOWN_INDICES,
    agreement_sentences,
    airways_sentence,
    interval_sentences,
    mask_sentence,
    shown_name,
)


@dataclass(frozen=True)
class Summary:
    """Text and CSV of a quantification, for the clipboard and files; stored in the scene.

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


def volumeLines(volumes: Sequence[Any]) -> list[str]:
    """The main indices of each volume in plain text, one line per region."""
    lines = []
    for volume in volumes:
        lines.append(shown_name(volume))
        lines.append("  " + "region".ljust(18) + "".join(label.rjust(13) for label, _, _ in SHOWN_INDICES))
        for entry in volume.indices:
            values = "".join(format(getattr(entry, field), form).rjust(13) for _, field, form in SHOWN_INDICES)
            lines.append("  " + entry.region.ljust(18) + values)
        lines.append("")
    return lines


def asText(result: Measurement) -> str:
    """A table in plain text."""
    lines = [f"Emphysema quantification, threshold {result.threshold_hu:g} HU", RESEARCH_USE_TEXT, ""]
    lines += [*volumeLines(result.volumes), *result.lung_mask.notes]
    spoken = [*interval_sentences(result.volumes), *agreement_sentences(result.agreement)]
    lines += [*spoken, airways_sentence(result.volume.airways_ml), mask_sentence(result.lung_mask.quality)]
    return "\n".join(lines) + "\n"


def asCsv(result: Measurement) -> str:
    """The command line's ``metrics.csv``: every volume and region with all digits."""
    from ..core.results.table import csv_text, measurement_rows

    return csv_text(measurement_rows(result))
