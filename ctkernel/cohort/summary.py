"""The summary page of a cohort: one HTML file without outside references but the links to the cases' reports."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.embedded_picture import embedded
from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.methods.protocol import METHOD_TEXTS
from KernelNormalizationLib.core.plain_text import printable_lines
from KernelNormalizationLib.core.version import VERSION

from .case import Failure, Found
from .case_folder import CASES, MEASURED, REPORT, THUMBNAIL, CaseFolder
from .settings import CohortSettings
from .statistics import Agreement, CaseNumbers, Outlier, agreement, floors, groups, median_and_quartiles, outliers

SUMMARY, METHODS_TEXT = "summary.html", "methods.txt"
TEMPLATE = Path(__file__).with_name("summary_page.html")
# Pictures are embedded, so their number is limited; the table names every outlier.
MOST_PICTURES, MOST_ROWS = 60, 500
_SOFTWARE = ("numpy", "scipy", "SimpleITK", "pydicom", "onnxruntime", "openvino", "torch", "dask", "pandas", "pyarrow")


def write_summary(
    out: Path, cases: Sequence[CaseNumbers], failures: Sequence[Failure], found: Found, settings: CohortSettings
) -> None:
    """Write ``summary.html`` and ``methods.txt``.

    Args:
        out: output folder with the cases.
        cases: whole-lung numbers.
        failures: what has no result.
        found: cases, and what was left out.
        settings: of the run.
    """
    from jinja2 import Environment, StrictUndefined

    methods, software = methods_text(cases, settings), software_text()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["line"] = printable_lines
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        count=_counts(cases, failures, found),
        headline=_headline(cases),
        figures=_figures(cases),
        agreements=_agreements(cases),
        groups=groups(cases),
        floors=floors(cases),
        outliers=[_shown_outlier(out, item, number) for number, item in enumerate(outliers(cases)[:MOST_ROWS])],
        every=[_shown_case(out, case) for case in cases[:MOST_ROWS]],
        more_cases=max(0, len(cases) - MOST_ROWS),
        failures=failures[:MOST_ROWS],
        more_failures=max(0, len(failures) - MOST_ROWS),
        methods=methods,
        software=software,
        threshold=f"{settings.threshold_hu:g}",
        use=RESEARCH_USE,
    )
    with atomic_path(out / SUMMARY) as temporary:
        temporary.write_text(page, encoding="utf-8")
    with atomic_path(out / METHODS_TEXT) as temporary:
        temporary.write_text(f"{methods}\n\n{software}\n\n{RESEARCH_USE}\n", encoding="utf-8")


def _counts(cases: Sequence[CaseNumbers], failures: Sequence[Failure], found: Found) -> dict[str, int]:
    given = {case.id for case in found.cases}
    failed = sum(failure.case in given for failure in failures)
    return {
        "measured": len(cases),
        "normalized": sum(case.normalized is not None for case in cases),
        "smooth": sum(case.normalized is None for case in cases),
        "soft": sum(case.soft is not None for case in cases),
        "failed": len(failures),
        "waiting": max(0, len(given) - len(cases) - failed),
        "left_out": sum(not item.broken for item in found.left_out),
    }


def _headline(cases: Sequence[CaseNumbers]) -> list[tuple[str, str, str]]:
    normalized = [case for case in cases if case.normalized is not None]
    return [
        ("EI as reconstructed (%)", str(len(cases)), median_and_quartiles([case.original for case in cases])),
        ("EI after normalization (%)", str(len(normalized)), median_and_quartiles([case.after for case in normalized])),
        ("Change of EI (points)", str(len(normalized)), median_and_quartiles([case.change for case in normalized])),
    ]


def _agreements(cases: Sequence[CaseNumbers]) -> list[tuple[str, ...]]:
    table: list[tuple[str, ...]] = []
    for name, found in _pairs(cases).items():
        if found is not None:
            limits = "–" if found.limits is None else f"{found.limits[0]:+.2f} to {found.limits[1]:+.2f}"
            table.append((name, str(len(found.pairs)), f"{found.bias:+.2f}", limits))
    return table


def _pairs(cases: Sequence[CaseNumbers]) -> dict[str, Agreement | None]:
    return {
        "as reconstructed": agreement((case.original, case.soft) for case in cases if case.soft is not None),
        "after normalization": agreement((case.after, case.soft) for case in cases if case.soft is not None),
    }


def _shown_outlier(out: Path, item: Outlier, number: int) -> dict[str, Any]:
    picture = CaseFolder(out, item.numbers.case).measured / THUMBNAIL
    shown = picture.is_file() and number < MOST_PICTURES
    return _shown_case(out, item.numbers) | {
        "reasons": item.reasons,
        "picture": embedded(picture.read_bytes()) if shown else None,
    }


def _shown_case(out: Path, case: CaseNumbers) -> dict[str, Any]:
    report = CaseFolder(out, case.case).measured / REPORT
    return {
        "case": case.case,
        "kernel": case.row["scan_kernel"] or "not stated",
        "verdict": case.row["verdict"],
        "mask": case.row["lung_mask"],
        "before": f"{case.original:.1f}",
        "after": "–" if case.normalized is None else f"{case.normalized:.1f}",
        "soft": "–" if case.soft is None else f"{case.soft:.1f}",
        "link": f"{CASES}/{case.case}/{MEASURED}/{REPORT}" if report.is_file() else None,
    }


def _figures(cases: Sequence[CaseNumbers]) -> list[tuple[str, str]]:
    """Pictures as data URIs, each with what it shows."""
    if not cases:
        return []
    from .summary_figures import draw_agreement, draw_before_after, drawn

    pictures = [
        (
            drawn(lambda figure: draw_before_after(figure, cases)),
            "EI of each case before and after normalization, a point a case, coloured by kernel; the diagonal is no change.",
        )
    ]
    pairs = _pairs(cases)
    before, after = pairs["as reconstructed"], pairs["after normalization"]
    if before is not None and after is not None:
        caption = "Bland-Altman: EI minus EI of the soft partner against their mean, on one lung mask. Solid: mean difference"
        caption += "; dashed: limits of agreement (mean ± 1.96 SD)." if after.limits else " (too few pairs for limits)."
        pictures.append((drawn(lambda figure: draw_agreement(figure, before, after)), caption))
    return [(embedded(png), caption) for png, caption in pictures]


def methods_text(cases: Sequence[CaseNumbers], settings: CohortSettings) -> str:
    """Methods to paste into a paper."""
    method = METHOD_TEXTS[settings.method]
    models = sorted({case.model for case in cases if case.model})
    weights = f", SHA-256 of the weights {settings.model_sha256}" if settings.model_sha256 else ""
    model = f": model {', '.join(models)}{weights}" if models else ""
    normalized = sum(case.normalized is not None for case in cases)
    text = (
        f"{len(cases)} chest CT were measured with CTKernelNormalization {VERSION}. Of these, {normalized} were normalized to "
        f"the smooth kernel B20f ({method}{model}); scans as smooth as that already were left as they are. Lungs were "
        "segmented on each scan by thresholding at -400 HU and refined at full resolution, trachea and bronchi removed, and "
        "one lung mask served all volumes of a scan. Emphysema is lung strictly below "
        f"{settings.threshold_hu:g} HU; the emphysema index (EI) is 100 × emphysema volume / total lung volume."
    )
    pairs = sum(case.soft is not None for case in cases)
    if pairs:
        text += (
            f" For {pairs} case(s) a soft-kernel reconstruction of the same acquisition was measured on the same mask; "
            "agreement is given as mean difference and, from three pairs on, limits of agreement (mean ± 1.96 SD; Bland and "
            "Altman 1986)."
        )
    return text


def software_text() -> str:
    """Versions of everything that may touch a number."""
    parts = [f"CTKernelNormalization {VERSION}", f"Python {platform.python_version()}"]
    for name in _SOFTWARE:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return "Software: " + ", ".join(parts) + "."
