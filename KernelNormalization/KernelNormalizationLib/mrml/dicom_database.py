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


def filesOfNode(node: Any) -> list[Path]:
    """The DICOM files that a node was loaded from; empty where the database does not have all of them any more."""
    database = dicomDatabase()
    instances = (node.GetAttribute(INSTANCES) or "").split()
    if database is None or not instances:
        return []
    files = [Path(database.fileForInstance(instance) or "") for instance in instances]
    return list(dict.fromkeys(files)) if all(path.is_file() for path in files) else []


def databaseTagReader() -> TagReader | None:
    """Reads tags from the application's DICOM database; ``None`` where there is none."""
    database = dicomDatabase()
    return database.instanceValue if database is not None else None
