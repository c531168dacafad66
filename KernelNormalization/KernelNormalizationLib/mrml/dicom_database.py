"""The application's DICOM database: whether one is open, and single tags of the files that a node was loaded from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

# Attribute in which Slicer keeps the SOP instance UIDs that a volume node was loaded from.
INSTANCES = "DICOM.instanceUIDs"

TagReader = Callable[[str, str], str]
"""(SOP instance UID, tag as ``gggg,eeee``) -> value, empty when the header does not have it."""


def dicomDatabase() -> Any | None:
    """The application's open DICOM database; ``None`` where there is none."""
    database = getattr(slicer, "dicomDatabase", None)
    return database if database is not None and database.isOpen else None


def databaseTagReader() -> TagReader | None:
    """Reads tags from the application's DICOM database; ``None`` where there is none."""
    database = dicomDatabase()
    return database.instanceValue if database is not None else None


def databaseFiles(node: Any) -> list[Path]:
    """The DICOM files that ``node`` was loaded from, as the open database names them; empty unless it names all of them.

    Whether the files are still there is not asked, so that this is fast on a large series.
    """
    database = dicomDatabase()
    if database is None:
        return []
    files = [database.fileForInstance(instance) for instance in (node.GetAttribute(INSTANCES) or "").split()]
    return [Path(file) for file in files] if all(files) else []
