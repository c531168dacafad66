"""Volume nodes and the DICOM files they came from, through the application's DICOM database."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from . import provenance
from .dicom_database import INSTANCES, TagReader, dicomDatabase
from .volumes import markExported


def whyNoDicomFiles(node: Any) -> str | None:
    """Why the DICOM files that ``node`` was loaded from are not known, in words for the user; ``None`` if they are.

    Looks at one file only, so that a panel may ask again and again.
    """
    instances = (node.GetAttribute(INSTANCES) or "").split()
    if not instances:
        return (
            f"“{node.GetName()}” was not loaded from DICOM (a NRRD or NIfTI file has no patient and no study), so there is no "
            "study that an export could belong to. Load the scan from the DICOM database."
        )
    database = dicomDatabase()
    if database is None:
        return "No DICOM database is open. Open the DICOM module once, so that it opens or makes one."
    if not _fileOf(database, instances[0]):
        return (
            f"The DICOM files of “{node.GetName()}” are not in the DICOM database. Import them in the DICOM module, and load "
            "the scan from there."
        )
    return None


def dicomFiles(node: Any) -> list[Path]:
    """The files that ``node`` was loaded from, in the order of its instances.

    Raises:
        InputError: they are not known, or some are gone.
    """
    reason = whyNoDicomFiles(node)
    if reason is not None:
        raise InputError(reason)
    database = dicomDatabase()
    files = [_fileOf(database, instance) for instance in (node.GetAttribute(INSTANCES) or "").split()]
    gone = files.count("")
    if gone:
        raise InputError(
            f"{gone} of {len(files)} DICOM files of “{node.GetName()}” are no longer where the DICOM database says; import the "
            "series again."
        )
    return [Path(file) for file in files]


def markExportedVolumes(nodes: Iterable[Any], readTag: TagReader | None) -> None:
    """Mark as synthetic what this project exported and the user has loaded from the DICOM database, before it is offered."""
    if readTag is None:
        return
    for node in nodes:
        if not provenance.isSynthetic(node):
            markExported(node, readTag)


def _fileOf(database: Any, instance: str) -> str:
    file = str(database.fileForInstance(instance) or "")
    return file if file and Path(file).is_file() else ""
