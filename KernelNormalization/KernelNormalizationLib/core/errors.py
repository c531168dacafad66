"""Errors a user can act on; every message names the offending value and says what to do."""

from __future__ import annotations

import errno

RESEARCH_USE = "Research use only. Not for diagnosis."


class CTKernelError(Exception):
    """Base of every expected failure; the message is written for the user, not for a developer."""


class InputError(CTKernelError):
    """The input cannot be used (file, volume, parameter); nothing was computed or written."""


class ModelError(CTKernelError):
    """A model folder is missing, damaged or does not reproduce its own conformance vectors."""


class LungNotFoundError(CTKernelError):
    """No lung could be segmented; an emphysema index would be meaningless."""


class Cancelled(CTKernelError):
    """The user stopped the run; nothing was kept."""


def system_error_in_words(error: OSError) -> str:
    """An error of the operating system as a sentence with the file's name and what to do."""
    name = str(error.filename) if error.filename is not None else "A file"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{name}: reading or writing it is not allowed; ask for the permission, or use another place."
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return f"{name}: the disk is full; make room and run again."
    if error.errno == errno.ENOENT and error.filename is None:
        return "The current folder was removed meanwhile; change to another folder and run again."
    if error.errno == errno.ENOENT:
        return f"{name} does not exist, or was removed meanwhile; check the path."
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST):
        return f"{name}: a folder stands where a file is meant, or a file where a folder is; move it away or give another name."
    return f"{name}: {error.strerror or error}. Check the disk or network drive, and run again."


def error_in_words(error: BaseException | None) -> str:
    """Any error as a sentence for the user: without numbers and brackets of the operating system, and never empty."""
    if isinstance(error, MemoryError):
        return "The memory of this machine is used up; close other programs, or use a smaller volume."
    if isinstance(error, OSError):
        return system_error_in_words(error)
    return str(error) or type(error).__name__
