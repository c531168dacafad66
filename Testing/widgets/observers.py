"""Counts what observes VTK objects, Python's and C++'s alike."""

from __future__ import annotations

from typing import Any

import slicer


def observers_of(observed: Any) -> int:
    """Observers of a VTK object: its tags count up, and a tag whose observer is gone has no command."""
    newest = observed.AddObserver("AnyEvent", lambda *_: None)
    observed.RemoveObserver(newest)
    return sum(observed.GetCommand(tag) is not None for tag in range(1, newest))


def observers() -> int:
    """Observers of the scene and of every node in it."""
    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return sum(map(observers_of, [scene, *nodes]))
