"""What a DICOM image is stored as: its SOP class, which must not contradict its modality."""

from __future__ import annotations

from pydicom.config import IGNORE
from pydicom.uid import UID

from ..errors import InputError
from ..plain_text import quoted
from .dicom_tags import CT_CLASSES
from .dicom_values import HeaderValues

# Programs that make DICOM of other files store it as secondary captures, of one frame or several, with all that CT states.
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def class_of(values: HeaderValues) -> str | None:
    """Name of the SOP class, its UID if DICOM does not know it, ``None`` if it is not stated."""
    stated = values.text("SOPClassUID")
    return None if stated is None else UID(stated, validation_mode=IGNORE).name


def is_secondary_capture(values: HeaderValues) -> bool:
    """Whether the SOP class is secondary capture, of one frame or several."""
    stated = values.text("SOPClassUID") or ""
    return stated == _SECONDARY_CAPTURE or stated.startswith(f"{_SECONDARY_CAPTURE}.")


def require_ct_class(values: HeaderValues) -> None:
    """Refuse a CT that is stored as an image of another modality; classes of makers and missing ones are let through.

    Raises:
        InputError: such a class.
    """
    stated, name = values.text("SOPClassUID") or "", class_of(values) or ""
    if is_secondary_capture(values) or stated in CT_CLASSES or not name.endswith("Storage"):
        return
    raise InputError(
        f"{values.where} has the modality CT and is stored as {quoted(name)} (SOPClassUID), which is no CT; one of both is "
        "wrong. Choose a CT series, or export it again."
    )
