"""Reports changes of a chosen volume: its transform is hardened or removed, or its voxels are loaded later than the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class VolumeWatch:
    """Observes one volume node at a time.

    Args:
        changed: called after the node's transform or voxels changed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._node: Any = None
        self._tags: list[int] = []

    def follow(self, node: Any | None) -> None:
        """Observe ``node`` instead of the previous one; ``None`` observes no node."""
        if node is self._node:
            return
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._node, self._tags = node, []
        if node is not None:
            events = (node.TransformModifiedEvent, node.ImageDataModifiedEvent)
            self._tags = [node.AddObserver(event, lambda *_: self._changed()) for event in events]
