"""``ctkernel reader-study report``: open the seal, which ends the study, and write what the readers' scores say."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.whole_sets import require_set_writable, whole_set
from KernelNormalizationLib.core.io.writing import write_json
from KernelNormalizationLib.core.plain_text import for_csv
from KernelNormalizationLib.core.version import VERSION

from .audit import OPENED, UNSEALED, AuditTrail, open_audit, receipt_of
from .outcome import ReaderTrace, StudyReport
from .scale import GROUPS
from .seal import open_seal
from .sittings import readings_of, score_events
from .statistics.summary import StudySummary, summarize
from .study import open_study

HTML, FIGURE, SCORES_CSV, STATISTICS_CSV, STATISTICS_JSON = (
    "report.html",
    "scores.png",
    "scores.csv",
    "statistics.csv",
    "statistics.json",
)
NAMES = (HTML, FIGURE, SCORES_CSV, STATISTICS_CSV, STATISTICS_JSON)


def report_study(folder: Path, seal_path: Path, out: Path, allow_unfinished: bool = False) -> StudyReport:
    """Open the labels of a study and write the report.

    Args:
        folder: of the study.
        seal_path: the sealed labels.
        out: folder for the report.
        allow_unfinished: open the labels though some images have no score; nobody can score them afterwards.

    Raises:
        InputError: the study, its audit trail or its seal were changed, a reader is not finished, or ``out`` cannot be written.
    """
    study = open_study(folder)
    require_set_writable(out, NAMES)
    with open_audit(study) as audit:
        traces = tuple(_trace(audit, reader) for reader in study.readers)
        missing = [t for t in traces if t.scored < len(study.cases)]
        if missing and not audit.is_unsealed and not allow_unfinished:
            left = ", ".join(f"{t.reader} has scored {t.scored} of {len(study.cases)}" for t in missing)
            raise InputError(f"The study is not finished: {left}. Opening the labels ends it; to do so now, add --unfinished.")
        seal = open_seal(seal_path, study.identifier, study.commitment)
        if set(seal.groups) != {case.identifier for case in study.cases}:
            raise InputError(f"{seal_path} and the study do not name the same images; use unchanged copies of both.")
        readings = readings_of(study, audit, seal)
        if not readings:
            raise InputError("No image has a score; there is nothing to report.")
        counts = {group: sum(g == group for g in seal.groups.values()) for group in GROUPS}
        summary = summarize(study.readers, readings, counts)
        if not audit.is_unsealed:
            audit.add(UNSEALED, {"scored": {t.reader: t.scored for t in traces}})
        report = StudyReport(
            study=study,
            summary=summary,
            readings=tuple(readings),
            traces=traces,
            prepared=audit.events[0]["time"],
            unsealed=next(event["time"] for event in audit.events if event["event"] == UNSEALED),
            lines=len(audit.events),
            unfinished=bool(missing),
        )
    write_report(report, out)
    return report


def write_report(report: StudyReport, out: Path) -> None:
    """Write page, figure and tables, all or none of them."""
    from .figure import draw_study
    from .report_page import page

    figure = draw_study(report.summary, report.readings)
    with whole_set(out, NAMES) as private:
        (private / FIGURE).write_bytes(figure)
        (private / HTML).write_text(page(report, figure), encoding="utf-8")
        (private / SCORES_CSV).write_text(scores_csv(report), encoding="utf-8")
        (private / STATISTICS_CSV).write_text(_csv(statistics_rows(report.summary)), encoding="utf-8")
        write_json(statistics_record(report), private / STATISTICS_JSON)


def statistics_record(report: StudyReport) -> dict[str, Any]:
    """All statistics and where they come from, JSON-serializable."""
    summary = asdict(report.summary)
    summary["differences"] = [
        {"readers": list(pair), **(asdict(found) if found else {"difference": None})}
        for pair, found in report.summary.differences
    ]
    return {
        "use": RESEARCH_USE,
        "version": VERSION,
        "study": report.study.identifier,
        "prepared": report.prepared,
        "unsealed": report.unsealed,
        "unfinished": report.unfinished,
        "commitment": report.study.commitment,
        "readers_traced": [asdict(trace) for trace in report.traces],
        **summary,
    }


def scores_csv(report: StudyReport) -> str:
    """One row for each score that counts; the seal says which case of the folders an identifier is."""
    header = ("reader", "case", "group", "score", "answer", "correct", "seconds", "changes")
    rows = [
        (r.reader, r.case, r.group, r.score, r.answer, int(r.correct), f"{r.seconds:.1f}", r.changes) for r in report.readings
    ]
    return _csv([header, *rows])


def statistics_rows(summary: StudySummary) -> list[tuple[Any, ...]]:
    """The statistics as rows: who, what, value, 95 % interval, number of images."""
    rows: list[tuple[Any, ...]] = [("reader", "quantity", "value", "low", "high", "images")]
    for scores in (*summary.readers, summary.everyone):
        who = scores.reader
        for group in scores.groups:
            rows.append((who, f"mean score of {group.group}", _number(group.mean), "", "", group.count))
            rows.append((who, f"SD of scores of {group.group}", _number(group.sd), "", "", group.count))
            rows += [
                (who, f"images {group.group} with score {n}", v, "", "", group.count) for n, v in enumerate(group.distribution)
            ]
    for scores in summary.readers:
        who, area = scores.reader, summary.areas[scores.reader]
        for name, share in (
            ("correct, %", scores.correct),
            ("normalized recognised, %", scores.synthetic_found),
            ("originals recognised, %", scores.originals_found),
        ):
            rows.append((who, name, _number(share.percent), _number(share.low), _number(share.high), share.total))
        rows.append((who, "p of guessing", _number(scores.p_guessing), "", "", scores.correct.total))
        if area is not None:
            name = f"ROC area ({area.interval})"
            rows.append((who, name, _number(area.area), _number(area.low), _number(area.high), scores.correct.total))
    for found in summary.agreements:
        who = " / ".join(found.readers)
        for name, kappa in (("kappa of answers", found.answers), ("weighted kappa of scores", found.scores)):
            rows.append((who, name, _number(kappa.value), _number(kappa.low), _number(kappa.high), found.images))
    return rows


def _trace(audit: AuditTrail, reader: str) -> ReaderTrace:
    events = score_events(audit, reader)
    opened = sum(event["event"] == OPENED and event["reader"] == reader for event in audit.events)
    return ReaderTrace(reader, len({event["case"] for event in events}), opened, receipt_of(events[-1]) if events else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    safe = [[for_csv(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    csv.writer(buffer, lineterminator="\n").writerows([*safe, (RESEARCH_USE,)])
    return buffer.getvalue()
