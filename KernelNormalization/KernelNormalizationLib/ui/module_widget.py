"""Module descriptions and module widgets, as Slicer loads them, around the panels of both modules."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ..mrml.provenance import RESEARCH_USE_TEXT

DOCUMENTATION_URL = "https://github.com/CTKernelNormalization/CTKernelNormalization#readme"


def describe(module: Any, title: str, purpose: str, sources: str, dependencies: tuple[str, ...] = ()) -> None:
    """Fill in a module's description.

    Args:
        module: Slicer's module object.
        title: name in the module list.
        purpose: what the module does, HTML.
        sources: publications and data it builds on, HTML.
        dependencies: names of modules that must be loaded first.
    """
    link = _('See the <a href="{url}">documentation</a> for data, licences and limits.').format(url=DOCUMENTATION_URL)
    module.title = title
    module.categories = [translate("qSlicerAbstractCoreModule", "Chest")]
    module.dependencies = list(dependencies)
    module.contributors = ["CTKernelNormalization contributors"]
    module.helpText = f"{purpose}<br><br><b>{RESEARCH_USE_TEXT}</b><br><br>{link}"
    module.acknowledgementText = f"{sources}<br><br>{link}"


class PanelWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Module widget that contains a panel and forwards the events of module and scene to it."""

    panel: Any = None

    def makePanel(self) -> Any:
        """The module's panel."""
        raise NotImplementedError

    def setup(self) -> None:
        """Build the panel; called once, when the module is first opened, and again when it is reloaded."""
        ScriptedLoadableModuleWidget.setup(self)
        self.panel = self.makePanel()
        self.layout.addWidget(self.panel.widget)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, lambda *_: self.panel.sceneStartClose())
        self.addObserver(scene, scene.EndCloseEvent, lambda *_: self.panel.sceneEndClose())
        self.addObserver(scene, scene.StartImportEvent, lambda *_: self.panel.sceneStartImport())
        self.addObserver(scene, scene.EndImportEvent, lambda *_: self.panel.sceneEndImport())
        self.addObserver(scene, scene.NodeRemovedEvent, lambda *_: self.panel.update())
        # After a reload, Slicer does not call enter() of a module that is already open.
        self.panel.connectToScene()

    def enter(self) -> None:
        """The user opens the module."""
        self.panel.enter()

    def exit(self) -> None:
        """The user leaves the module."""
        self.panel.exit()

    def cleanup(self) -> None:
        """The module is unloaded or about to be reloaded."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.cleanup()
