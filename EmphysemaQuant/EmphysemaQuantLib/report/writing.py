"""The report of a measurement: a self-contained web page, and the same page as a PDF."""

from __future__ import annotations

import logging
from pathlib import Path

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.whole_sets import whole_set

from ..core.results.measurement import Measurement

logger = logging.getLogger(__name__)

PDF_NAME, HTML_NAME = "report.pdf", "report.html"


def write_report(measurement: Measurement, folder: Path, label: str | None = None) -> dict[str, Path]:
    """Write HTML and, where WeasyPrint and Pango are installed, PDF into an existing folder, both or neither.

    Args:
        measurement: what to show.
        folder: existing folder; files of an earlier report there are replaced.
        label: heading instead of the first volume's name; give a patient's name only if it may appear.

    Returns:
        "html" and, if it could be written, "pdf" -> path. :func:`.pdf.why_no_pdf` says why there is no PDF.

    Raises:
        InputError: the folder does not exist.
    """
    # matplotlib and Jinja2 may be missing in Slicer and are loaded only for a report
    from .html import page
    from .pdf import why_no_pdf, write_pdf

    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    title = label or measurement.volume.name
    content = page(measurement, title)
    paths = {"html": folder / HTML_NAME}
    # as one set, so that an older PDF is not left beside a page with other numbers
    with whole_set(folder, (PDF_NAME, HTML_NAME), own_folder=False) as private:
        (private / HTML_NAME).write_text(content, encoding="utf-8")
        if why_no_pdf() is None:
            write_pdf(content, private / PDF_NAME)
            paths["pdf"] = folder / PDF_NAME
    logger.info("Report of %s written to %s", title, folder)
    return paths
