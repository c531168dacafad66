"""The report of a measurement as files: a PDF page and a self-contained web page."""

from __future__ import annotations

import logging
from pathlib import Path

from KernelNormalizationLib.core.errors import InputError

from .html import write_html
from .pdf import write_pdf
from .results import Report

logger = logging.getLogger(__name__)

PDF_NAME, HTML_NAME = "report.pdf", "report.html"


def write_report(report: Report, folder: Path) -> dict[str, Path]:
    """Write PDF and HTML into an existing folder, each whole or not at all.

    Args:
        report: what to write.
        folder: existing folder; files of an earlier report there are replaced.

    Returns:
        "pdf" and "html" -> path.

    Raises:
        InputError: the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    paths = {"pdf": folder / PDF_NAME, "html": folder / HTML_NAME}
    write_pdf(report, paths["pdf"])
    write_html(report, paths["html"])
    logger.info("Report of %s written to %s", report.title, folder)
    return paths
