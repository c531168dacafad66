"""Tables of the evaluation in Markdown, with the paper's tables for comparison."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .scores import SEVERE_EI, Comparison, Score, Summary, frame_of

# Table 1 and section 3.1 of the B80f to B20f study (50 patients, L1 over 71): mean, std, [min, max]; "-" not reported.
PAPER_TABLE: tuple[tuple[str, str, str, str], ...] = (
    ("B80f", "84.5 ± 11.7", "17.32 ± 4.72 [5.78, 25.66]", "0.19 ± 0.19 [0.01, 0.69]"),
    ("UNet", "9.7 ± 1.7", "0.93 ± 1.27 [0.01, 5.53]", "0.55 ± 0.21 [0.03, 0.89]"),
    ("Heuristic", "-", "1.90 ± 2.65 [0.04, 9.26]", "0.43 ± 0.21 [0.00, 0.85]"),
    ("Frequency-based", "-", "1.66 ± 2.26 [0.02, 9.36]", "0.38 ± 0.25 [0.00, 0.85]"),
    ("B80f, EI > 5", "-", "17.17 ± 5.49 [5.78, 25.66]", "0.41 ± 0.12 [0.25, 0.69]"),
    ("UNet, EI > 5", "-", "2.02 ± 1.45 [0.25, 5.53]", "0.76 ± 0.07 [0.64, 0.89]"),
    ("Heuristic, EI > 5", "-", "4.31 ± 2.92 [0.39, 9.26]", "0.63 ± 0.11 [0.47, 0.85]"),
    ("Frequency-based, EI > 5", "-", "3.44 ± 2.72 [0.35, 9.36]", "0.61 ± 0.15 [0.19, 0.85]"),
)
# Figures of the same study's patients, with which the simulated patients are compared.
PAPER_POPULATION = (
    ("L1, HU", "84.5 ± 11.7"),
    ("abs. EI error, points", "17.32 ± 4.72"),
    ("Dice", "0.19 ± 0.19"),
    ("Dice, EI > 5", "0.41 ± 0.12"),
)
# Smaller p values depend more on floating-point rounding than on the patients.
SMALLEST_P = 1e-50


def severe(score: Score) -> bool:
    """Whether the true index is above 5 %."""
    return score.true_ei > SEVERE_EI


def methods_of(scores: Sequence[Score]) -> list[str]:
    """Labels in order of appearance."""
    return list(dict.fromkeys(s.method for s in scores))


def spread(values: Sequence[float] | pd.Series, digits: int, *, bounds: bool = True) -> str:
    """``mean ± std [min, max]``; for a single value the value itself; "-" without values."""
    s = Summary.of(values)
    if s.n == 0:
        return "-"
    if s.n == 1:
        return f"{s.mean:.{digits}f}"
    text = f"{s.mean:.{digits}f} ± {s.std:.{digits}f}"
    return f"{text} [{s.low:.{digits}f}, {s.high:.{digits}f}]" if bounds else text


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def main_table(scores: Sequence[Score]) -> str:
    """This project's results: every method, for all patients and for those with an index above 5 %."""
    frame = frame_of(scores)
    rows = []
    for patients, suffix in ((frame, ""), (frame[frame.true_ei > SEVERE_EI], ", EI > 5")):
        for method in methods_of(scores):
            chosen = patients[patients.method == method]
            errors = [spread(chosen[name], 1) for name in ("l1_image", "l1_body", "l1_lung")]
            rows.append([method + suffix, str(len(chosen)), *errors, spread(chosen.abs_dei, 2), spread(chosen.dice, 2)])
    return markdown(["Images", "n", "L1 whole, HU", "L1 body, HU", "L1 lung, HU", "abs. difference in EI", "Dice"], rows)


def paper_table() -> str:
    """The paper's Table 1."""
    return markdown(["Images", "L1 whole, HU", "abs. difference in EI", "Dice"], PAPER_TABLE)


def population_table(scores: Sequence[Score], raw: str) -> str:
    """Figures of these patients' sharp images beside those of the paper's patients."""
    frame = frame_of(scores)
    chosen = frame[frame.method == raw]
    high = chosen[chosen.true_ei > SEVERE_EI]
    ours = (
        spread(chosen.l1_image, 1, bounds=False),
        spread(chosen.abs_dei, 2, bounds=False),
        spread(chosen.dice, 2, bounds=False),
        spread(high.dice, 2, bounds=False),
    )
    rows = [[name, paper, own] for (name, paper), own in zip(PAPER_POPULATION, ours, strict=True)]
    rows.append(["patients (EI > 5)", "71 for L1, 50 for EI", f"{len(chosen)} ({len(high)})"])
    return markdown(["Sharp against smooth", "paper", "these patients"], rows)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Paired one-sided t-tests with effect sizes."""
    names = {"l1_image": "L1", "abs_dei": "abs. dEI", "dice": "Dice"}
    rows = [
        [
            names[c.measure],
            f"{c.better} better than {c.worse}",
            str(c.n),
            f"{c.difference:.3g}",
            _p(c.p),
            _p(c.p_holm),
            "-" if np.isnan(c.effect) else f"{c.effect:.2f}",
        ]
        for c in comparisons
    ]
    return markdown(["Measure", "Hypothesis", "n", "mean gain", "p, one-sided", "p, Holm", "Cohen's d"], rows)


def _p(value: float) -> str:
    if np.isnan(value):
        return "-"
    if value < SMALLEST_P:
        return f"< {SMALLEST_P:.0e}"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def strata_tables(scores: Sequence[Score]) -> list[tuple[str, str]]:
    """Titles and tables of bias and error by true EI, dose, pixel size, sharp kernel, kind of object and kind of slices."""
    frame = frame_of(scores)
    bins = [
        ("true_ei", "true EI, %", [0.0, 1.0, 5.0, 15.0, 100.0], "g"),
        ("pixel_mm", "pixel size, mm", [0.0, 0.6, 0.7, 0.8, 2.0], "g"),
    ]
    doses = frame.quanta.dropna().unique()
    if len(doses) >= 4:
        bins.append(("quanta", "dose, quanta a reading", [*np.quantile(doses, [0.0, 0.25, 0.5, 0.75]), np.inf], ".3g"))
    tables = []
    for name, title, edges, shown in bins:
        labels = [f"{low:{shown}} to {high:{shown}}" for low, high in itertools.pairwise(edges)]
        tables.append((title, _strata(frame, pd.cut(frame[name], edges, right=False, labels=labels))))
    for name, title in (("kernel", "sharp kernel"), ("real_object", "real object"), ("resampled", "slices resampled")):
        if frame[name].nunique() > 1:
            tables.append((title, _strata(frame, frame[name])))
    return tables


def _strata(frame: pd.DataFrame, groups: pd.Series) -> str:
    """Table of the mean errors of every method in every group of ``groups``, which has a value for every row of ``frame``."""
    methods = pd.Categorical(frame.method, frame.method.unique())
    rows = [
        [
            str(group),
            method,
            str(len(part)),
            f"{part.l1_lung.mean():.1f}",
            f"{part.bias_lung.mean():+.1f}",
            f"{(part.ei - part.true_ei).mean():+.2f}",
            f"{part.abs_dei.mean():.2f}",
            f"{part.dice.mean():.2f}",
        ]
        for (group, method), part in frame.groupby([groups, methods], observed=True)
    ]
    return markdown(["Group", "Method", "n", "L1 lung, HU", "lung bias, HU", "EI bias, points", "abs. dEI", "Dice"], rows)
