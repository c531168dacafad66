"""Files that the page offers, written by the functions behind the command line."""

from __future__ import annotations

from pathlib import Path

from EmphysemaQuantLib.core.results.measurement import Measurement
from KernelNormalizationLib.core.errors import InputError

from .steps import Review

# What the page asks for -> file name. The names of volume and segmentation say that they are computed.
VOLUME_NAME = "synthetic-B20f.nrrd"
FILES = {
    "volume": VOLUME_NAME,
    "provenance": "synthetic-B20f.provenance.json",
    "segmentation": "emphysema.seg.nrrd",
    "metrics": "metrics.csv",
    "record": "metrics.json",
    "report": "report.pdf",
    "page": "report.html",
}


def write_file(what: str, review: Review, folder: Path) -> Path:
    """Write what the user wants to have into an empty private folder; takes seconds, so a thread does it.

    Raises:
        InputError: no such file, or the review has nothing to write yet.
    """
    if what not in FILES:
        raise InputError(f"There is no file {what!r}; there are {', '.join(FILES)}.")
    if what in ("volume", "provenance"):
        from KernelNormalizationLib.core.io.file_conversion import write_result
        from KernelNormalizationLib.core.methods.protocol import NormalizationResult

        if review.synthetic is None:
            raise InputError("There is no synthetic volume yet; normalize first.")
        write_result(NormalizationResult(review.synthetic, review.record), folder / VOLUME_NAME)
    elif what in ("report", "page"):
        from EmphysemaQuantLib.report.writing import write_report

        write_report(_measurement(review), folder)
    else:
        from ..quantification_files import write_measurement

        write_measurement(_measurement(review), folder)
    return folder / FILES[what]


def _measurement(review: Review) -> Measurement:
    if review.measurement is None:
        raise InputError("Nothing was measured yet; open a chest CT, and wait for its measurement.")
    return review.measurement
