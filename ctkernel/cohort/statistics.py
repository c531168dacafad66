"""Numbers of the summary: everything is computed from the tidy table, nothing is measured again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .rows import NORMALIZED, ORIGINAL, SOFT

# Limits of agreement: mean +- 1.96 SD of the differences (Bland and Altman, Lancet 1986; 327: 307-310).
LIMITS_SD = 1.96
# Fewer pairs give no standard deviation worth the name.
FEWEST_PAIRS = 3
# Modified z-score above which a value is an outlier (Iglewicz and Hoaglin 1993): 0.6745 x deviation / median deviation.
OUTLIER_Z, NORMAL_MAD = 3.5, 0.6745
FEWEST_FOR_OUTLIERS = 8
# A normalized EI this far from the soft partner's, percentage points, is worth a look in a cohort of any size (own choice).
FAR_FROM_SOFT = 3.0


@dataclass(frozen=True)
class CaseNumbers:
    """The whole-lung numbers of a case.

    Attributes:
        case: identifier.
        row: of the scan as reconstructed.
        original: EI (%) as reconstructed.
        normalized: EI (%) after normalization; ``None`` where nothing was done.
        soft: EI (%) of the soft partner.
        model: network that normalized it, if one did.
    """

    case: str
    row: dict[str, Any]
    original: float
    normalized: float | None
    soft: float | None
    model: str | None = None

    @property
    def after(self) -> float:
        """EI (%) to report: normalized, or as reconstructed where the scan was smooth already."""
        return self.original if self.normalized is None else self.normalized

    @property
    def change(self) -> float:
        """Percentage points that normalization moved EI."""
        return self.after - self.original


@dataclass(frozen=True)
class Agreement:
    """Differences against the soft partner, percentage points of EI.

    Attributes:
        pairs: (mean of both, difference) of each case, %.
        bias: mean difference.
        limits: bias -+ 1.96 SD; ``None`` for fewer than three pairs.
    """

    pairs: tuple[tuple[float, float], ...]
    bias: float
    limits: tuple[float, float] | None


@dataclass(frozen=True)
class Outlier:
    """A case to look at, and why."""

    numbers: CaseNumbers
    reasons: tuple[str, ...]


def numbers_of(rows: Sequence[dict[str, Any]]) -> list[CaseNumbers]:
    """The whole-lung numbers of every case, by identifier."""
    whole: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        if row["region"] == "whole":
            whole[row["case"]][row["volume"]] = row
    found = []
    for case, volumes in sorted(whole.items()):
        if ORIGINAL in volumes:
            ei = {role: float(row["ei_percent"]) for role, row in volumes.items()}
            model = volumes.get(NORMALIZED, {}).get("model")
            found.append(CaseNumbers(case, volumes[ORIGINAL], ei[ORIGINAL], ei.get(NORMALIZED), ei.get(SOFT), model))
    return found


def agreement(pairs: Iterable[tuple[float, float]]) -> Agreement | None:
    """Bland and Altman's agreement of pairs (measured, soft partner); ``None`` without a pair."""
    values = [(0.5 * (one + soft), one - soft) for one, soft in pairs]
    if not values:
        return None
    differences = np.array([difference for _, difference in values])
    bias = float(differences.mean())
    limits = None
    if len(values) >= FEWEST_PAIRS:
        spread = LIMITS_SD * float(differences.std(ddof=1))
        limits = (bias - spread, bias + spread)
    return Agreement(tuple(values), bias, limits)


def median_and_quartiles(values: Sequence[float]) -> str:
    """Median and, from four values on, quartiles, as text."""
    if not values:
        return "–"
    low, middle, high = (float(v) for v in np.percentile(values, (25, 50, 75)))
    return f"{middle:.1f}" if len(values) < 4 else f"{middle:.1f} ({low:.1f} to {high:.1f})"


def outliers(cases: Sequence[CaseNumbers]) -> list[Outlier]:
    """Cases to look at: far from the others, far from the soft partner, or with a doubtful mask or scan."""
    odd_change = _far([case.change for case in cases])
    odd_after = _far([case.after for case in cases])
    found = []
    for case, change, after in zip(cases, odd_change, odd_after, strict=True):
        reasons = []
        if case.soft is not None and abs(case.after - case.soft) > FAR_FROM_SOFT:
            reasons.append(f"EI is {case.after - case.soft:+.1f} points from the soft partner's {case.soft:.1f} %.")
        if change:
            reasons.append(f"Normalization changed EI by {case.change:+.1f} points, unlike in the other cases.")
        if after:
            reasons.append(f"EI of {case.after:.1f} % is unlike that of the other cases.")
        if case.row["lung_mask"] == "look":
            reasons.append(f"Look at the lung mask. {case.row.get('lung_mask_reasons') or ''}".rstrip())
        share = case.row["lung_voxels_at_floor_percent"]
        if share is not None and share > 35.0:
            reasons.append(f"{share:.0f} % of the lung is stored at the HU floor.")
        if case.normalized is not None and case.normalized > case.original + 0.5:
            reasons.append("Normalization raised EI.")
        if reasons:
            found.append(Outlier(case, tuple(reasons)))
    return sorted(found, key=lambda item: (-len(item.reasons), item.numbers.case))


def _far(values: Sequence[float]) -> list[bool]:
    if len(values) < FEWEST_FOR_OUTLIERS:
        return [False] * len(values)
    array = np.asarray(values)
    deviation = np.abs(array - np.median(array))
    spread = float(np.median(deviation))
    if spread == 0.0:
        return [False] * len(values)
    return [bool(z > OUTLIER_Z) for z in NORMAL_MAD * deviation / spread]


def groups(cases: Sequence[CaseNumbers]) -> list[tuple[str, ...]]:
    """A row a kernel and scanner: kernel, scanner, cases, EI before and after, verdicts, share at the floor."""
    by_kind: dict[tuple[str, str], list[CaseNumbers]] = defaultdict(list)
    for case in cases:
        maker, model = case.row["manufacturer"], case.row["scanner_model"]
        scanner = " ".join(part for part in (maker, model) if part) or "not stated"
        by_kind[(case.row["scan_kernel"] or "not stated", scanner)].append(case)
    table = []
    for (kernel, scanner), members in sorted(by_kind.items()):
        verdicts = sorted({str(case.row["verdict"]) for case in members})
        told = [case.original for case in members], [case.after for case in members]
        words = [median_and_quartiles(values) for values in told]
        table.append((kernel, scanner, str(len(members)), *words, ", ".join(verdicts)))
    return table


def floors(cases: Sequence[CaseNumbers]) -> list[tuple[str, ...]]:
    """A row a kind of HU floor: kind, HU, cases, share of lung voxels stored there."""
    by_floor: dict[tuple[str, float | None], list[float]] = defaultdict(list)
    for case in cases:
        kind = str(case.row["floor_kind"] or "unknown")
        # without a floor the lowest value is the scan's own and no class
        level = None if kind == "none" else case.row["floor_hu"]
        by_floor[(kind, level)].append(float(case.row["lung_voxels_at_floor_percent"] or 0.0))
    return [
        (kind, "–" if level is None else f"{level:.0f}", str(len(shares)), median_and_quartiles(shares), f"{max(shares):.1f}")
        for (kind, level), shares in sorted(by_floor.items(), key=lambda item: str(item[0]))
    ]
