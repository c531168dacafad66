"""Options that several commands of ``ctkernel`` have, with one wording."""

from __future__ import annotations

import argparse

from KernelNormalizationLib.core.kernels.told_kernel import CHOICES, FROM_HEADER

SCAN_HELP = "scan: a DICOM folder, one DICOM file of the series, or a .nrrd, .nii, .nii.gz or .mha file"


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """Add ``--kernel``."""
    parser.add_argument(
        "--kernel",
        type=_named,
        help=f"the scan's kernel, if the header names none or a wrong one: {CHOICES} (default: {FROM_HEADER})",
    )


def _named(text: str) -> str:
    """The text of an option that must not be empty: an unset variable of a script would otherwise choose the default."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a name, or leave the option out")
    return text
