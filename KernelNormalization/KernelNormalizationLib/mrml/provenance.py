"""Names of the MRML node attributes that carry provenance, and how to read them."""

from __future__ import annotations

from typing import Any

PREFIX = "CTKernelNormalization."
SYNTHETIC = PREFIX + "Synthetic"
# Written into volume files, also by the command line; Slicer turns the fields of a NRRD header into node attributes.
SYNTHETIC_IN_FILE = PREFIX + "synthetic"
RESEARCH_USE_ONLY = PREFIX + "ResearchUseOnly"
INPUT_NODE_ID = PREFIX + "InputNodeID"
RECORD = PREFIX + "Record"
KERNEL = PREFIX + "Kernel"
MANUFACTURER = PREFIX + "Manufacturer"
# A node reference survives saving and reloading the scene, where node IDs may change; the plain ID is for people.
INPUT_REFERENCE_ROLE = "CTKernelNormalizationInput"

RESEARCH_USE_TEXT = "Research use only – not for diagnosis or treatment."


def isSynthetic(volumeNode: Any) -> bool:
    """Whether the voxels of ``volumeNode`` (a vtkMRMLVolumeNode) were computed by a normalization."""
    return any(str(volumeNode.GetAttribute(name)).lower() == "true" for name in (SYNTHETIC, SYNTHETIC_IN_FILE))


def inputOf(volumeNode: Any) -> Any | None:
    """The original volume node that the synthetic ``volumeNode`` was made from, if it is still in the scene."""
    return volumeNode.GetNodeReference(INPUT_REFERENCE_ROLE) if isSynthetic(volumeNode) else None
