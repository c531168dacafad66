"""Errors a user can act on; every message names the offending value and says what to do."""

from __future__ import annotations


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
