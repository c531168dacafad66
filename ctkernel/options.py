"""Options that several commands of ``ctkernel`` have, with one wording."""

from __future__ import annotations

import argparse
from typing import get_args

from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, THRESHOLD_RANGE_HU
from EmphysemaQuantLib.core.indices.regions import Thirds
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.told_kernel import CHOICES, FROM_HEADER
from KernelNormalizationLib.core.network.backends import Device

SCAN_HELP = "scan: a DICOM folder, one DICOM file of the series, or a .nrrd, .nii, .nii.gz or .mha file"


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """Add ``--kernel``."""
    parser.add_argument(
        "--kernel",
        type=_named,
        help=f"the scan's kernel, if the header names none or a wrong one: {CHOICES} (default: {FROM_HEADER})",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="auto takes CUDA, else MPS, else the CPU")


def add_threshold(parser: argparse.ArgumentParser, default: float | None = EMPHYSEMA_THRESHOLD_HU, otherwise: str = "") -> None:
    """Add ``--threshold``; :func:`~.emphysema_mask.require_threshold` refuses what lies outside the range.

    Args:
        parser: of the command.
        default: HU, or ``None`` where the command has to know whether it was given.
        otherwise: what else may set it, for the help.
    """
    low, high = THRESHOLD_RANGE_HU
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="HU",
        default=default,
        help=f"emphysema is below this many HU, from {low:g} to {high:g} (default {EMPHYSEMA_THRESHOLD_HU:g}{otherwise})",
    )


def add_thirds(parser: argparse.ArgumentParser) -> None:
    """Add ``--thirds``."""
    parser.add_argument(
        "--thirds", choices=get_args(Thirds), default="volume", help="thirds of equal volume (default) or height"
    )


def require_no_series(series: str | None) -> None:
    """Refuse ``--series`` where no scan was given.

    Raises:
        InputError: there is a ``series``.
    """
    if series is not None:
        raise InputError(f"--series {series} chooses among the series of a scan, and no scan was given; give its folder too.")


def _named(text: str) -> str:
    """The text of an option that must not be empty: an unset variable of a script would otherwise choose the default."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a name, or leave the option out")
    return text
