"""Two measured volumes: their order, and the names of the differences between them."""

from __future__ import annotations

from typing import Any

from KernelNormalizationLib.core.plain_text import shortened
from KernelNormalizationLib.mrml import provenance


def isReversed(firstSynthetic: bool, secondSynthetic: bool) -> bool:
    """Whether the volume chosen second is shown first: an original precedes a synthetic volume."""
    return firstSynthetic and not secondSynthetic


def inReadingOrder(volumeNode: Any, comparedNode: Any) -> tuple[Any, Any]:
    """Both nodes, the original first."""
    if isReversed(provenance.isSynthetic(volumeNode), provenance.isSynthetic(comparedNode)):
        return comparedNode, volumeNode
    return volumeNode, comparedNode


def arePartners(volumeNode: Any, comparedNode: Any) -> bool:
    """Whether one of the two was made from the other by a normalization."""
    scan, other = inReadingOrder(volumeNode, comparedNode)
    return provenance.inputOf(other) is scan and scan is not None


def changeNames(volumeNode: Any, comparedNode: Any) -> tuple[str, str, str]:
    """Names for emphysema in the first volume (in reading order) only, in both, and in the second only.

    A normalization removes or adds emphysema only between a scan and its own partner; for any other two volumes the
    names say which of them has it.
    """
    if arePartners(volumeNode, comparedNode):
        return "Removed by normalization", "Kept", "Added by normalization"
    first, second = inReadingOrder(volumeNode, comparedNode)
    return f"Only in {shortened(first.GetName())}", "In both", f"Only in {shortened(second.GetName())}"
