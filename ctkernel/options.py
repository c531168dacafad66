"""Options that several commands of ``ctkernel`` have, with one wording."""

from __future__ import annotations

import argparse

from KernelNormalizationLib.core.kernels.told_kernel import CHOICES, FROM_HEADER

SCAN_HELP = "scan: a DICOM folder, one DICOM file of the series, or a .nrrd, .nii, .nii.gz or .mha file"


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """Add ``--kernel``."""
    parser.add_argument(
        "--kernel", help=f"the scan's kernel, if the header names none or a wrong one: {CHOICES} (default: {FROM_HEADER})"
    )
