"""A MRML scene with the application logics that the modules need, without Qt.

``slicer-core`` brings the real MRML classes and the real ``slicer.util``; an application normally provides
``slicer.mrmlScene``, ``slicer.app`` and ``slicer.modules``. :func:`start` provides them.
"""

from __future__ import annotations

import tempfile
from types import SimpleNamespace
from typing import Any

import slicer
from trame_slicer.resources import resources_path
from vtkmodules.util.misc import calldata_type
from vtkmodules.util.vtkConstants import VTK_OBJECT
from vtkmodules.vtkCommonCore import vtkCollection

_host: MrmlHost | None = None


class MrmlHost:
    """Owns the scene and the logics; must outlive every node (the logics crash when collected early)."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self._cache = tempfile.TemporaryDirectory(prefix="slicerhost-")
        self.logics: dict[str, Any] = {}
        self._connect_application_logic()
        self._add_module_logics()
        self._add_io()
        self.add_default_nodes()
        self.complaints: list[str] = []
        self._leaving: list[Any] = []
        self.scene.AddObserver(self.scene.NodeAboutToBeRemovedEvent, self._about_to_be_removed)
        self.scene.AddObserver(self.scene.NodeRemovedEvent, self._removed)

    def _connect_application_logic(self) -> None:
        self.application_logic.SetMRMLScene(self.scene)
        colors = self.application_logic.GetColorLogic()
        colors.SetMRMLScene(self.scene)
        colors.AddDefaultColorNodes()
        self.application_logic.SetModuleLogic("Colors", colors)
        self.application_logic.SetSliceLogics(vtkCollection())
        self.application_logic.SetViewLogics(vtkCollection())
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(self.application_logic)

    def _add_module_logics(self) -> None:
        for name, logic in {
            "Terminologies": slicer.vtkSlicerTerminologiesModuleLogic(),
            "Volumes": slicer.vtkSlicerVolumesLogic(),
            "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
            "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic(),
            "Plots": slicer.vtkSlicerPlotsLogic(),
        }.items():
            if name == "Terminologies":
                logic.SetModuleShareDirectory(str(resources_path() / "terminologies"))
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(self.application_logic)
            self.application_logic.SetModuleLogic(name, logic)
            self.logics[name] = logic
        # Beside the application's own colour logic, as in Slicer: the module's knows colour legends.
        self.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
        self.logics["Colors"] = slicer.vtkSlicerColorLogic()

    def _add_io(self) -> None:
        self._remote_io = slicer.vtkMRMLRemoteIOLogic()
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(self._cache.name)
        self._data_io = slicer.vtkDataIOManagerLogic()
        for logic in (self._remote_io, self._data_io):
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(self.application_logic)
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())
        self._remote_io.AddDataIOToScene()

    @calldata_type(VTK_OBJECT)
    def _about_to_be_removed(self, _scene: Any, _event: Any, node: Any) -> None:
        """Slicer's subject hierarchy looks a removed node up in the node's scene, and logs two lines where it has none."""
        if node.GetScene() is None:
            self.complaints.append(f"GetSubjectHierarchyNode: Invalid scene given ({node.GetName() or node.GetClassName()})")
        elif node.IsA("vtkMRMLDisplayableNode"):
            self._leaving = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]

    @calldata_type(VTK_OBJECT)
    def _removed(self, scene: Any, _event: Any, node: Any) -> None:
        """Slicer removes the display nodes of a removed node with it."""
        if scene.IsClosing() or not node.IsA("vtkMRMLDisplayableNode"):
            return
        leaving, self._leaving = self._leaving, []
        for display in leaving:
            if display is not None and scene.IsNodePresent(display):
                scene.RemoveNode(display)

    def add_default_nodes(self) -> None:
        """What the application adds to every new scene."""
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)

    def clear(self) -> None:
        """Close the scene as the application does (singletons stay)."""
        self.scene.Clear(0)
        self.add_default_nodes()


def start() -> MrmlHost:
    """The one host of this process; sets ``slicer.mrmlScene``, ``slicer.app`` and ``slicer.modules``."""
    global _host
    if _host is None:
        _host = MrmlHost()
        logics = {name.lower(): SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in _host.logics.items()}
        slicer.mrmlScene = _host.scene
        slicer.modules = SimpleNamespace(**logics)
        slicer.app = SimpleNamespace(
            mrmlScene=lambda: _host.scene,
            applicationLogic=lambda: _host.application_logic,
            temporaryPath=_host._cache.name,
            testingEnabled=lambda: True,
            processEvents=lambda: None,
        )
    return _host
