"""Options that several commands of ``ctkernel`` have, with one wording."""

from __future__ import annotations

import argparse

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.told_kernel import CHOICES, FROM_HEADER

SCAN_HELP = "scan: a DICOM folder, one DICOM file of the series, or a .nrrd, .nii, .nii.gz or .mha file"


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """Add ``--kernel``."""
    parser.add_argument(
        "--kernel", help=f"the scan's kernel, if the header names none or a wrong one: {CHOICES} (default: {FROM_HEADER})"
    )


def require_no_series(series: str | None) -> None:
    """Refuse ``--series`` where no scan was given.

    Raises:
        InputError: there is a ``series``.
    """
    if series is not None:
        raise InputError(f"--series {series} chooses among the series of a scan, and no scan was given; give its folder too.")
