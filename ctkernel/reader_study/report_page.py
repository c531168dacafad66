"""The report as one web page without outside references."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from KernelNormalizationLib.core.embedded_picture import embedded
from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.version import VERSION

from .outcome import StudyReport
from .statistics.agreement import Kappa
from .statistics.descriptive import GroupScores, Share
from .statistics.power import LEVEL, MOST_CASES, POWER
from .statistics.roc import AreaDifference
from .statistics.summary import StudySummary

TEMPLATE = Path(__file__).with_name("report_page.html")
Table = tuple[list[str], list[list[str]]]
DASH = "–"


def page(report: StudyReport, figure: bytes) -> str:
    """The page as text; the figure (PNG) is embedded."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    summary = report.summary
    intervals = " and ".join(sorted({area.interval for area in summary.areas.values() if area})) or "none"
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        study=report.study.identifier,
        subtitle=_subtitle(report),
        headline=headline(summary),
        warnings=_warnings(report),
        scores=_scores(summary),
        certain=_certain(summary),
        figure=embedded(figure),
        accuracy=_accuracy(summary),
        intervals=intervals,
        agreement=_agreement(summary),
        power=_power(summary),
        plan=_plan(summary),
        methods=_methods(),
        traces=_traces(report),
        provenance=[
            f"Prepared {report.prepared}, labels opened {report.unsealed}; {report.lines} lines in the audit file, its chain "
            f"of hashes whole. ctkernel {VERSION}."
        ],
        commitment=report.study.commitment,
        use=RESEARCH_USE,
    )


def headline(summary: StudySummary) -> list[str]:
    """The result in a sentence for each reader."""
    lines = []
    for scores in summary.readers:
        share = scores.correct
        if share.percent is None or scores.p_guessing is None:
            lines.append(f"{scores.reader} scored no image.")
            continue
        said = "more often right than by guessing" if share.percent > 50.0 else "more often wrong than by guessing"
        verdict = said if scores.p_guessing < LEVEL else "no proof of more than guessing"
        lines.append(
            f"{scores.reader} put {share.hits} of {share.total} images ({share.percent:.0f} %, 95 % interval {share.low:.0f} "
            f"to {share.high:.0f} %) into the right group: {verdict} (p = {_p(scores.p_guessing)})."
        )
    return lines


def _subtitle(report: StudyReport) -> str:
    cases = report.summary.cases
    return (
        f"Study {report.study.identifier}: {sum(cases.values())} images, one of each case: {cases['original']} original, "
        f"{cases['normalized']} normalized. {len(report.study.readers)} reader(s), blinded."
    )


def _warnings(report: StudyReport) -> list[str]:
    lines = []
    if report.unfinished:
        lines.append("The labels were opened before all readers had scored all images; the numbers are those of a part.")
    if min(report.summary.cases.values()) < 10:
        lines.append("A group has fewer than 10 images: means, areas and intervals are rough.")
    return lines


def _scores(summary: StudySummary) -> Table:
    rows = []
    for scores in (*summary.readers, summary.everyone):
        original, normalized = scores.groups
        rows.append([scores.reader, _mean(original), _mean(normalized), _seconds(original), _seconds(normalized)])
    header = ["Reader", "Original, mean ± SD (n)", "Normalized, mean ± SD (n)", "Original, median s", "Normalized, median s"]
    return header, rows


def _certain(summary: StudySummary) -> str:
    count = summary.everyone.certain
    return "no image got a score of 0 or 5 (certain)." if count == 0 else f"{count} score(s) were 0 or 5 (certain)."


def _accuracy(summary: StudySummary) -> Table:
    rows = []
    for scores in summary.readers:
        area = summary.areas[scores.reader]
        shown = DASH if area is None else f"{area.area:.2f} ({area.low:.2f} to {area.high:.2f})"
        p_value = DASH if scores.p_guessing is None else _p(scores.p_guessing)
        shares = [_share(s) for s in (scores.correct, scores.originals_found, scores.synthetic_found)]
        rows.append([scores.reader, *shares, p_value, shown])
    if summary.mean is not None and len(summary.readers) > 1:
        percent, area_limits = summary.mean.percent_correct, summary.mean.area
        shown = DASH if area_limits is None else "{:.2f} ({:.2f} to {:.2f})".format(*area_limits)
        rows.append(["mean (bootstrap of cases)", "{:.0f} % ({:.0f} to {:.0f})".format(*percent), DASH, DASH, DASH, shown])
    return ["Reader", "Correct", "Originals recognised", "Normalized recognised", "p", "ROC area"], rows


def _agreement(summary: StudySummary) -> Table:
    rows = []
    for found, (_, difference) in zip(summary.agreements, summary.differences, strict=True):
        same = f"{found.same_answer} of {found.images}"
        rows.append([" / ".join(found.readers), same, _kappa(found.answers), _kappa(found.scores), _difference(difference)])
    return ["Readers", "Same answer", "Kappa of answers", "Weighted kappa of scores", "Difference of ROC areas"], rows


def _power(summary: StudySummary) -> Table:
    plan = summary.next_study
    rows = [
        [f"{100 * entry.accuracy:.1f} %", _cases(entry.cases), f"{100 * entry.power_now:.0f} %"]
        for entry in sorted(plan.detect, key=lambda entry: entry.accuracy)
    ]
    header = [
        "True share of right answers",
        f"Cases to show more than guessing (power {100 * POWER:.0f} %)",
        f"Power with {plan.cases_now} cases",
    ]
    return header, rows


def _plan(summary: StudySummary) -> list[str]:
    plan = summary.next_study
    widths = ", ".join(f"±{half:.2f} with {count}" for count, half in plan.area_half_width)
    return [
        f"To show that the images cannot be told apart is another question: {_cases(plan.cases_to_exclude)} cases are needed "
        f"to exclude {100 * plan.excluded_accuracy:.0f} % or more right answers (power {100 * POWER:.0f} %, one-sided 5 %) if "
        "the reader truly guesses. A study in which no reader beats guessing does not show it by itself.",
        f"Expected 95 % interval of an ROC area near 0.6: {widths} cases.",
        "All for one reader, exact binomial probabilities. More readers do not replace cases: they see the same images.",
    ]


def _methods() -> list[str]:
    return [
        "Of each case either the original soft-kernel reconstruction or the normalized sharp one was chosen at random (again "
        "until at least a quarter of the cases was in each group). Both were rounded to whole HU, limited to -1024 to 3071 HU "
        "and stored without names, header or compression. Each reader saw all images in an order of its own, scrolled and "
        "windowed freely, could go back and change a score, and was not told which image was original.",
        "What the images themselves show is not hidden: an HU floor, a field of view or noise that only one group has can be "
        "seen.",
        "The intervals hold for these readers and for other cases of this kind, not for other readers, scanners or methods.",
    ]


def _traces(report: StudyReport) -> Table:
    rows = [[t.reader, f"{t.scored} of {len(report.study.cases)}", str(t.sittings), t.receipt or DASH] for t in report.traces]
    return ["Reader", "Images scored", "Sittings", "Receipt"], rows


def _mean(group: GroupScores) -> str:
    if group.mean is None:
        return DASH
    spread = "" if group.sd is None else f" ± {group.sd:.2f}"
    return f"{group.mean:.2f}{spread} ({group.count})"


def _seconds(group: GroupScores) -> str:
    return DASH if group.median_seconds is None else f"{group.median_seconds:.0f}"


def _share(share: Share) -> str:
    if share.percent is None:
        return DASH
    return f"{share.hits} of {share.total}: {share.percent:.0f} % ({share.low:.0f} to {share.high:.0f})"


def _kappa(kappa: Kappa) -> str:
    if kappa.value is None:
        return f"{DASH} (one answer only)"
    limits = "" if kappa.low is None or kappa.high is None else f" ({kappa.low:.2f} to {kappa.high:.2f})"
    return _minus(f"{kappa.value:.2f}{limits}")


def _difference(found: AreaDifference | None) -> str:
    if found is None:
        return DASH
    return _minus(f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f}), p = {_p(found.p_value)}")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _cases(count: int | None) -> str:
    return f"more than {MOST_CASES}" if count is None else str(count)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
