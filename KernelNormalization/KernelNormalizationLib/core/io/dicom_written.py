"""The result of an export of DICOM objects, for whoever asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WrittenDicom:
    """Objects that lie in a folder, complete.

    Attributes:
        series: series instance UID -> number of its files.
        told: sentences for the user: what was written and how voxels were rounded; no path and no patient.
    """

    series: Mapping[str, int]
    told: str
