"""The report of a measurement: a PDF page and a self-contained web page."""

from __future__ import annotations

import logging
from pathlib import Path

from KernelNormalizationLib.core.errors import InputError

from ..core.results.measurement import Measurement

logger = logging.getLogger(__name__)

PDF_NAME, HTML_NAME = "report.pdf", "report.html"


def write_report(measurement: Measurement, folder: Path, label: str | None = None) -> dict[str, Path]:
    """Write PDF and HTML into an existing folder, each whole or not at all.

    Args:
        measurement: what to show.
        folder: existing folder; files of an earlier report there are replaced.
        label: heading instead of the first volume's name; give a patient's name only if it may appear.

    Returns:
        "pdf" and "html" -> path.

    Raises:
        InputError: the folder does not exist.
    """
    # drawing needs matplotlib and Jinja2, which Slicer may lack and tables alone should not load
    from .html import write_html
    from .pdf import write_pdf

    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    title = label or measurement.volume.name
    paths = {"pdf": folder / PDF_NAME, "html": folder / HTML_NAME}
    write_pdf(measurement, paths["pdf"], title)
    write_html(measurement, paths["html"], title)
    logger.info("Report of %s written to %s", title, folder)
    return paths
