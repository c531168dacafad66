"""Figures of merit for every case and method, their summaries, and statistical tests between methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from EmphysemaQuantLib.core.indices.agreement import compare_volumes
from KernelNormalizationLib.core.arrays import FloatArray

from .cases import Case

# The paper reports patients with an index above 5 % separately; below it, emphysema consists of a few isolated pixels.
SEVERE_EI = 5.0
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Score:
    """Figures of merit of one method on one case.

    Attributes:
        case: name of the pair.
        method: label of the method.
        l1_image, l1_body, l1_lung: mean absolute difference to the smooth reconstruction, HU.
        bias_lung: mean difference in the lungs, method minus smooth reconstruction, HU.
        true_ei, ei: emphysema index of the smooth reconstruction and of the method's image, %.
        abs_dei: absolute difference of the two, percentage points.
        dice: Dice coefficient of the emphysema masks at -950 HU.
        kernel: name of the sharp kernel.
        quanta: simulated dose in quanta per reading, or NaN.
        pixel_mm: in-plane spacing, mm.
        real_object: whether the simulated object was a real volume.
        resampled: whether the slices were interpolated from others.
    """

    case: str
    method: str
    l1_image: float
    l1_body: float
    l1_lung: float
    bias_lung: float
    true_ei: float
    ei: float
    abs_dei: float
    dice: float
    kernel: str
    quanta: float
    pixel_mm: float
    real_object: bool
    resampled: bool


SCORE_FIELDS = tuple(f.name for f in fields(Score))


def score(case: Case, label: str, hu: FloatArray) -> Score:
    """Compare the image of a method with the smooth reconstruction.

    Args:
        case: the pair.
        label: name of the method.
        hu: image of the method, float32 (k, j, i), HU; rounded here, as in a stored image.
    """
    judged = case.judged(np.rint(hu))
    agreement = compare_volumes(case.smooth, judged, case.lung)
    inside = case.lung.mask
    dose = case.meta.get("dose")
    return Score(
        case=case.name,
        method=label,
        l1_image=agreement.l1_image_hu,
        l1_body=agreement.l1_body_hu,
        l1_lung=agreement.l1_lung_hu,
        bias_lung=float((judged.hu[inside] - case.smooth.hu[inside]).mean()),
        true_ei=agreement.reference_ei_percent,
        ei=agreement.other_ei_percent,
        abs_dei=agreement.abs_delta_ei_points,
        dice=agreement.dice,
        kernel=str(case.meta["sharp_kernel"]["name"]),
        quanta=float(dose["quanta"] * dose.get("slice_factor", 1.0)) if dose else float("nan"),
        pixel_mm=float(case.meta["pixel_mm"]),
        real_object=bool(case.meta["real_object"]),
        resampled=case.meta.get("native_slice_mm", case.meta["slice_mm"]) != case.meta["slice_mm"],
    )


def frame_of(scores: Sequence[Score]) -> pd.DataFrame:
    """A row for every score, a column for every attribute, sorted by case; methods keep their order."""
    return pd.DataFrame(list(scores), columns=list(SCORE_FIELDS)).sort_values("case", kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation and range of ``n`` values; NaN without values (spread needs two)."""

    n: int
    mean: float
    std: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float] | pd.Series) -> Summary:
        """Summarize ``values``."""
        array = np.asarray(values, dtype=np.float64)
        if array.size == 0:
            return Summary(0, *(float("nan"),) * 4)
        spread = float(array.std(ddof=1)) if array.size > 1 else float("nan")
        return Summary(array.size, float(array.mean()), spread, float(array.min()), float(array.max()))


@dataclass(frozen=True)
class Comparison:
    """Paired one-sided t-test that ``better`` improves on ``worse``, as in the paper.

    Attributes:
        better, worse: method labels.
        measure: name of the figure of merit.
        n: pairs of values.
        difference: mean improvement (positive when ``better`` is better).
        p: one-sided p value; NaN with fewer than two patients or without any spread.
        p_holm: the same after Holm's correction over all comparisons of the table.
        effect: Cohen's d of paired differences (mean over standard deviation).
    """

    better: str
    worse: str
    measure: str
    n: int
    difference: float
    p: float
    p_holm: float
    effect: float


def select(scores: Sequence[Score], method: str, keep: Callable[[Score], bool] = lambda s: True) -> list[Score]:
    """Scores of one method for which ``keep`` is true, sorted by case."""
    return sorted((s for s in scores if s.method == method and keep(s)), key=lambda s: s.case)


def compare_methods(scores: Sequence[Score], better: str, keep: Callable[[Score], bool] = lambda s: True) -> list[Comparison]:
    """Test ``better`` against every other method on L1, |dEI| and Dice.

    Args:
        scores: all scores.
        better: label of the method that is expected to be better.
        keep: whether a patient is included.
    """
    others = [m for m in dict.fromkeys(s.method for s in scores) if m != better]
    raw = [_compare(scores, better, worse, measure, keep) for measure in ("l1_image", "abs_dei", "dice") for worse in others]
    adjusted = holm([c.p for c in raw])
    return [
        Comparison(c.better, c.worse, c.measure, c.n, c.difference, c.p, p, c.effect)
        for c, p in zip(raw, adjusted, strict=True)
    ]


def _compare(scores: Sequence[Score], better: str, worse: str, measure: str, keep: Callable[[Score], bool]) -> Comparison:
    first = {s.case: getattr(s, measure) for s in select(scores, better, keep)}
    second = {s.case: getattr(s, measure) for s in select(scores, worse, keep)}
    shared = sorted(first.keys() & second.keys())
    gain = np.array([second[c] - first[c] for c in shared]) * (-1.0 if measure == "dice" else 1.0)
    spread = float(gain.std(ddof=1)) if gain.size > 1 else 0.0
    mean = float(gain.mean()) if gain.size else float("nan")
    if spread == 0.0:
        return Comparison(better, worse, measure, gain.size, mean, float("nan"), float("nan"), float("nan"))
    p = float(stats.ttest_1samp(gain, 0.0, alternative="greater").pvalue)
    return Comparison(better, worse, measure, gain.size, mean, p, p, mean / spread)


def holm(p: Sequence[float]) -> list[float]:
    """P values after Holm's step-down correction; NaN stays NaN and does not count as a test."""
    values = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(values)
    if known.any():
        values[known] = multipletests(values[known], method="holm")[1]
    return [float(value) for value in values]
