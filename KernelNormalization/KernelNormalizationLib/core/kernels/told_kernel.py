"""The kernel that the user names, which then replaces the one in the header."""

from __future__ import annotations

import re
from dataclasses import replace

from ..errors import InputError
from ..volume import Acquisition, CTVolume
from .mtf import KERNELS, kernel_number

# Words of the user: take the kernel from the header (the default), or ignore the header and use the noise alone.
FROM_HEADER, FROM_NOISE = "header", "noise"
CHOICES = f"B{min(KERNELS)}f to B{max(KERNELS)}f (such as B70f), {FROM_NOISE} or {FROM_HEADER}"
_KERNEL = re.compile(r"B\d{2}[a-z]?", re.IGNORECASE | re.ASCII)


def parse_told_kernel(text: str | None) -> str | None:
    """The kernel that ``text`` names: ``"B70f"``, ``"noise"``, or ``None`` for the header's.

    Raises:
        InputError: ``text`` is none of these.
    """
    word = (text or FROM_HEADER).strip()
    if word.lower() == FROM_HEADER:
        return None
    if word.lower() == FROM_NOISE:
        return FROM_NOISE
    if not _KERNEL.fullmatch(word) or kernel_number(word) is None:
        raise InputError(f"The kernel “{word}” is not known; give one of {CHOICES}.")
    return word[0].upper() + word[1:].lower()


def with_told_kernel(volume: CTVolume, text: str | None) -> CTVolume:
    """``volume`` with the kernel that the user named; the kernel of the header stays in the record.

    Raises:
        InputError: ``text`` names no kernel.
    """
    return replace(volume, acquisition=replace(volume.acquisition, told_kernel=parse_told_kernel(text)))


def kernel_in_use(acquisition: Acquisition) -> str | None:
    """The kernel name to use: the user's, else the header's; ``None`` if the noise alone shall decide, or neither names one."""
    if acquisition.told_kernel == FROM_NOISE:
        return None
    return acquisition.told_kernel or acquisition.kernel
