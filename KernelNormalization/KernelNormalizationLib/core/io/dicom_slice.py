"""One image of a DICOM series: its file, and its header without pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, MediaStorageDirectoryStorage

from ..errors import InputError
from ..plain_text import plain, quoted
from .dicom_beginning import RepeatedElementError, has_dicom_mark, read_dataset
from .dicom_frames import frame_headers, is_enhanced
from .dicom_tags import CT_CLASSES, HEADER_TAGS
from .dicom_values import UNREADABLE, HeaderValues
from .input_files import open_file

_DICOM_ROOT = "1.2.840.10008."


@dataclass(frozen=True)
class DicomSlice:
    """One image file of a series and its header without pixels.

    Attributes:
        path: the file.
        header: tags the product uses.
        bytes_left: size of the rest of the file, from the pixel element on.
        fault: why the file cannot be used, if it cannot; a series with such a file is refused.
        copies: names of files that are the same byte for byte, and were left out.
        frame: number of the frame, from 0, if the file is an enhanced CT; ``header`` and ``bytes_left`` are then this frame's.
    """

    path: Path
    header: pydicom.Dataset
    bytes_left: int
    fault: str | None = None
    frame: int | None = None
    copies: tuple[str, ...] = ()

    @cached_property
    def values(self) -> HeaderValues:
        """The header's values by type."""
        name = plain(self.path.name)
        return HeaderValues(self.header, name if self.frame is None else f"{name}, frame {self.frame + 1},")

    @property
    def position(self) -> float:
        """Signed distance along the slice normal, mm.

        Raises:
            InputError: the file states none or cannot be read.
        """
        if self.fault is not None:
            raise InputError(self.fault)
        axes, corner = self.values.numbers("ImageOrientationPatient", 6), self.values.numbers("ImagePositionPatient", 3)
        if axes is None or corner is None:
            raise InputError(f"{self.values.where} states no position or orientation; export the series with its geometry.")
        return float(np.dot(np.cross(axes[:3], axes[3:]), corner))


Series = list[DicomSlice]


def read_header(path: Path) -> pydicom.Dataset | None:
    """The header tags the product uses, or ``None`` if ``path`` is not DICOM or cannot be read."""
    item = _read_slice(path)
    return None if item is None or item.fault is not None else item.header


def read_images(path: Path) -> Series | None:
    """The image or images of one file: one, or one for each frame of an enhanced CT; ``None`` if ``path`` is not DICOM.

    A file that cannot be read is one image with a fault.
    """
    item = _read_slice(path)
    if item is None or item.fault is not None or not is_enhanced(item.header):
        return None if item is None else [item]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            headers = frame_headers(item.header)
    except InputError as error:
        return [DicomSlice(path, item.header, 0, fault_in_words(path, str(error).removesuffix(".")))]
    except UNREADABLE:
        return [DicomSlice(path, item.header, 0, fault_in_words(path, "describes its frames in a way that cannot be read"))]
    share = item.bytes_left // len(headers)
    return [DicomSlice(path, header, share, frame=number) for number, header in enumerate(headers)]


def _read_slice(path: Path) -> DicomSlice | None:
    try:
        with open_file(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the values are checked one by one, in words for the user
            header = read_dataset(file, stop_before_pixels=True, specific_tags=HEADER_TAGS)
            item = DicomSlice(path, header, path.stat().st_size - file.tell())
            cut = "Rows" not in header and "Columns" not in header and _should_be_image(header)
    except InvalidDicomError:
        return None
    except InputError as error:
        return faulty_file(path, f"cannot be opened ({error})")
    except RepeatedElementError as error:
        return faulty_file(path, f"states {error} twice")
    except UNREADABLE:
        return faulty_file(path, "is cut off or damaged") if has_dicom_mark(path) else None
    return item if not cut else DicomSlice(path, header, 0, fault_in_words(path, "is cut off: it ends before its image"))


def _should_be_image(header: pydicom.Dataset) -> bool:
    """Whether a file without image is a damaged one, and not a report, a plan or a directory of images."""
    stated = HeaderValues(header, "").text("SOPClassUID")
    announced = HeaderValues(header.file_meta, "").text("MediaStorageSOPClassUID")
    if announced == MediaStorageDirectoryStorage:
        return False
    # both places name the same class in a whole file; a text that was cut or damaged names another
    # of another class than those of CT a file without pixels is no damaged slice
    if stated is None or stated != announced or stated in CT_CLASSES:
        return True
    uid = UID(stated)
    return not uid.is_valid or (uid.startswith(_DICOM_ROOT) and uid.name == stated)


def faulty_file(path: Path, what: str) -> DicomSlice:
    """A file that cannot be used, and why (``what`` goes on from its name)."""
    return DicomSlice(path, pydicom.Dataset(), 0, fault_in_words(path, what))


def fault_in_words(path: Path, what: str) -> str:
    """Why a file cannot be used and what to do; ``what`` goes on from its name."""
    return (
        f"{quoted(path.name, 80)} {what}, so a slice of the series may be missing. Copy or export the series again; if the "
        "file is no part of the scan, move it out of the folder."
    )
