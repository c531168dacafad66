"""The report's web page printed to a PDF of one A4 page by WeasyPrint, which is an optional package."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import InputError

# Text size (pt), height of the pictures and of each plot (mm), tried in this order until the page fits on one sheet of A4.
# Text under 6 pt is not readable on paper: what does not fit at the last size continues on a second page.
SIZES = ((8.0, 94, 38), (7.6, 92, 36), (7.2, 88, 34), (6.8, 82, 32), (6.4, 72, 28), (6.0, 56, 25))

# Written on the page, with the number of different characters.
NO_FONT = "Characters for which this computer has no font ({count}) are printed as “?”; the web page of the report shows them."

INSTALL = "Print the web page from a browser, or install WeasyPrint with its system library Pango"
INSTALL_PAGE = "https://doc.courtbouillon.org/weasyprint/stable/first_steps.html"


def why_no_pdf() -> str | None:
    """One sentence on why no PDF can be written here and what to do, or ``None`` if one can.

    WeasyPrint (extra ``pdf``) needs the C library Pango, which pip does not install; Slicer and plain Windows lack it.
    """
    try:
        _weasyprint()
    except InputError as error:
        return str(error)
    return None


def write_pdf(page: str, path: Path) -> None:
    """Print the page of :func:`.html.page`; characters that no font of this computer has become “?”, and the page says so.

    Args:
        page: HTML with every picture embedded.
        path: of the PDF.

    Raises:
        InputError: WeasyPrint or Pango is not installed.
        OSError: the file cannot be written.
    """
    path.write_bytes(_printed(page)[0])


def _printed(page: str) -> tuple[bytes, str]:
    """The PDF, and the page as it was printed."""
    content, missing = _content_and_missing(page)
    if not missing:
        return content, page
    for character in missing:
        page = page.replace(character, "?")
    note = f'<p class="small">{NO_FONT.format(count=len(missing))}</p>'
    # above the line on research use, which stays the last
    before, mark, rest = page.rpartition('<div class="use">')
    page = f"{before}{note}{mark}{rest}" if mark else f"{page}{note}"
    return _content_and_missing(page)[0], page


def _content_and_missing(page: str) -> tuple[bytes, set[str]]:
    """The PDF, and the characters that it shows as empty boxes, because no font has them."""
    document, missing = _fitted(page), set[str]()

    def collect(record: logging.LogRecord) -> bool:
        # WeasyPrint tells of each with the character and its number
        if "notdef" in str(record.msg) and isinstance(record.args, tuple) and record.args:
            missing.add(str(record.args[0]))
        return record.levelno >= logging.ERROR

    log = logging.getLogger("weasyprint")
    level = log.level
    log.addFilter(collect)
    log.setLevel(logging.WARNING)
    try:
        return document.write_pdf(), missing
    finally:
        log.setLevel(level)
        log.removeFilter(collect)


def _fitted(page: str) -> Any:
    """The laid-out document at the first size that needs one page, else at the smallest."""
    weasyprint = _weasyprint()
    # The page embeds its pictures: nothing is ever read from a disk or a network.
    embedded_only = importlib.import_module("weasyprint.urls").URLFetcher(allowed_protocols=("data",))
    html = weasyprint.HTML(string=page, url_fetcher=embedded_only)
    for text_pt, picture_mm, plot_mm in SIZES:
        sizes = f"--text: {text_pt}pt !important; --picture: {picture_mm}mm !important; --plot: {plot_mm}mm !important"
        document = html.render(stylesheets=[weasyprint.CSS(string=f":root {{ {sizes} }}")])
        if len(document.pages) == 1:
            break
    return document


def _weasyprint() -> Any:
    # WeasyPrint prints advice to standard output when a library is missing, which would spoil JSON there.
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            weasyprint = importlib.import_module("weasyprint")
    except ImportError as error:
        raise InputError(
            f"No PDF was written because the Python package {error.name or 'weasyprint'} is not installed. {INSTALL}: "
            f'pip install "ctkernelnormalization[pdf]", see {INSTALL_PAGE}'
        ) from error
    except OSError as error:
        library = str(error).split(":", maxsplit=1)[0]
        raise InputError(
            f"No PDF was written because a system library of WeasyPrint is missing ({library}). {INSTALL}, see {INSTALL_PAGE}"
        ) from error
    # It logs every CSS rule that it does not support.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    return weasyprint
