"""A cohort as a list: a CSV file with a row for each scan."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import get_args

from EmphysemaQuantLib.core.results.acquisition_sheet import Sex
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.told_kernel import parse_told_kernel
from KernelNormalizationLib.core.plain_text import one_letter_apart, plain, quoted

from .case import Case, Found, LeftOut, Scan, made_id

logger = logging.getLogger(__name__)

# Column -> what stands in it.
COLUMNS: dict[str, str] = {
    "path": "DICOM folder, DICOM file, NRRD, NIfTI or MHA; relative to the CSV file",
    "series": "number, kernel or UID of the series, where the path holds several",
    "case": "identifier for folders and tables: letters, digits, - _ .",
    "patient": "pseudonym; stands in the tables, never in a path",
    "date": "of the scan, YYYY-MM-DD",
    "mask": "lung mask file",
    "partner": "soft-kernel reconstruction of the same acquisition",
    "kernel": "the scan's kernel, if the header names none or a wrong one",
    "sex": "male or female",
    "height": "cm",
    "weight": "kg",
}
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|(COM|LPT)[0-9])(\..*)?", re.IGNORECASE)
# Read by Microsoft Excel, which does not show it; rows are therefore counted without it.
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?[,;\t|]*[ ]*(?:\r\n|\r|\n)', re.IGNORECASE)
_LARGEST_BYTES = 200_000_000


@dataclass
class _Rows:
    """Cases so far, and what may not come twice."""

    cases: list[Case] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    scans: dict[Scan, int] = field(default_factory=dict)
    dates: dict[tuple[str, str | None], int] = field(default_factory=dict)


def read_list(path: Path) -> Found:
    """The cases of a CSV file; a row that cannot be used is left out with the reason, and the others go on.

    Raises:
        InputError: the file is no CSV with a column ``path``.
    """
    try:
        text, separator = _without_separator_line(_text(path))
        # line ends of every system
        table = list(csv.reader(io.StringIO(text, newline=None), delimiter=separator))
    except csv.Error as error:
        limit = csv.field_size_limit()
        raise InputError(f"{path.name} has a cell of more than {limit} characters; a quotation mark may be missing.") from error
    header = [name.strip().lower() for name in table[0]] if table else []
    _check_header(path, header)
    rows = _Rows()
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path.name}, row {number}"
        if len(cells) > len(header):
            reason = f"The row has {len(cells)} cells and the header {len(header)}; put text with a separator in quotes."
            rows.left_out.append(LeftOut(where, reason, broken=True))
            continue
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        try:
            _add(rows, row, number, path.parent)
        except InputError as error:
            rows.left_out.append(LeftOut(f"{where} ({plain(row.get('path') or 'no path', 80)})", str(error), broken=True))
    if not rows.cases and not rows.left_out:
        raise InputError(f"{path.name} has a header and no row; add a row for each scan.")
    return Found(tuple(rows.cases), tuple(rows.left_out))


def _text(path: Path) -> str:
    size = path.stat().st_size
    if size > _LARGEST_BYTES:
        raise InputError(f"{path.name} has {size / 1e6:.0f} MB, too much for a list of scans; give a CSV file.")
    content = path.read_bytes()
    if b"\0" in content[:1000] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path.name} is no text; save the list as CSV in UTF-8 (a spreadsheet's own format is not CSV).")
    try:
        return content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not in UTF-8 (byte {error.start}); save it as “CSV UTF-8”.") from error


def _without_separator_line(text: str) -> tuple[str, str]:
    """The table, and what separates its cells: told by the first line ``sep=;`` of some spreadsheets, or seen in the header."""
    if told := _SEPARATOR_LINE.match(text):
        return text[told.end() :], told[1]
    lines = text.splitlines()
    first = lines[0] if lines else ""
    return text, max(",;\t", key=first.count)


def _check_header(path: Path, header: list[str]) -> None:
    known = ", ".join(COLUMNS)
    if "path" not in header:
        shown = ", ".join(quoted(name, 20) for name in header[:8]) or "nothing"
        raise InputError(f"{path.name} has no column “path” (its first line has {shown}); the columns are {known}.")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InputError(f"{path.name} has the column {quoted(twice[0])} twice; keep one.")
    others = [name for name in header if name and name not in COLUMNS]
    for name in others:
        if meant := next((column for column in COLUMNS if one_letter_apart(name, column)), None):
            raise InputError(f"{path.name} has the column {quoted(name, 20)}, which is almost “{meant}”; correct it.")
    if others:
        shown = ", ".join(quoted(name, 20) for name in others[:8])
        logger.warning("%s: the column(s) %s are not used; those that are read are %s.", plain(path.name), shown, known)


def _add(rows: _Rows, row: dict[str, str], number: int, folder: Path) -> None:
    case = _case(row, folder)
    same = rows.scans.get(case.scan)
    if same is not None:
        raise InputError(f"The scan stands in row {same} already; leave one of the two out.")
    folder_name = case.id.casefold()  # Windows and macOS do not tell "a" from "A"
    if folder_name in rows.ids:
        raise InputError(f"The case {quoted(case.id)} stands in row {rows.ids[folder_name]} already; give another name.")
    key = None if case.patient is None else (case.patient, case.date)
    if key is not None and not row.get("case") and key in rows.dates:
        when = f"of {case.date}" if case.date else "without a date"
        raise InputError(
            f"The patient has another scan {when} in row {rows.dates[key]}; give each its date, or a name in the column “case”."
        )
    if key is not None:
        rows.dates[key] = number
    rows.ids[folder_name], rows.scans[case.scan] = number, number
    rows.cases.append(case)


def _case(row: dict[str, str], folder: Path) -> Case:
    if not row["path"]:
        raise InputError("The row has no path; give the scan's file or folder.")
    scan = Scan(str(_located(row["path"], folder)), row.get("series") or None)
    kernel = row.get("kernel") or None
    parse_told_kernel(kernel)
    return Case(
        id=_identifier(row.get("case", ""), f"{row['path']}\0{scan.series or ''}"),
        scan=scan,
        partner=Scan(str(_located(row["partner"], folder))) if row.get("partner") else None,
        patient=plain(row["patient"], 64) if row.get("patient") else None,
        date=iso_date(row.get("date", "")),
        mask=str(_located(row["mask"], folder)) if row.get("mask") else None,
        kernel=kernel,
        build=_build(row),
        described=row["path"],
    )


def _located(path: str, folder: Path) -> Path:
    return Path(path) if Path(path).is_absolute() else folder / path


def _identifier(told: str, otherwise: str) -> str:
    if not told:
        return made_id(otherwise)
    if not _SAFE_ID.fullmatch(told) or told.endswith("."):
        raise InputError(f"The case {quoted(told)} cannot name a folder; use up to 64 letters, digits, - _ and dots inside.")
    if _DEVICE.fullmatch(told):
        raise InputError(f"The case {quoted(told)} has a name that Windows keeps for a device; give another.")
    return told


def iso_date(text: str) -> str | None:
    """A date as ISO 8601, from that or from DICOM's YYYYMMDD; ``None`` for no text.

    Raises:
        InputError: it is no date.
    """
    if not text:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InputError(f"The date {quoted(text, 20)} cannot be read; write YYYY-MM-DD.") from None


def _build(row: dict[str, str]) -> tuple[str | None, float | None, float | None]:
    sex = {"m": "male", "f": "female"}.get(row.get("sex", "").lower(), row.get("sex", "").lower()) or None
    if sex is not None and sex not in get_args(Sex):
        raise InputError(f"The sex {quoted(row['sex'], 20)} is neither male nor female; leave it empty if it is not known.")
    return sex, _number(row, "height", lambda cm: 50 <= cm <= 250), _number(row, "weight", lambda kg: 20 <= kg <= 400)


def _number(row: dict[str, str], column: str, fits: Callable[[float], bool]) -> float | None:
    text = row.get(column, "").replace(",", ".")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not fits(value):
        raise InputError(f"The {column} {quoted(text, 20)} is not that of a patient; write {COLUMNS[column]}.")
    return value
