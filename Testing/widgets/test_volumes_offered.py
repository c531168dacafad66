"""Which volumes the selectors of the Kernel Normalization panel offer."""

from __future__ import annotations

from typing import Any

import slicer
from normalizationpanel import PanelMaker, chest, make_panel, press_and_wait, synthetic

from KernelNormalizationLib.core.io.reading import SYNTHETIC_KEY
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.selftest.base import waitUntil

__all__ = ["chest", "make_panel"]


def offered(selector: Any) -> list[str]:
    return [selector.nodeFromIndex(n).GetName() for n in range(selector.nodeCount())]


def add(like: Any, name: str) -> Any:
    return slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(like), name=name)


def test_also_normalize_offers_neither_the_input_nor_synthetic_volumes(make_panel: PanelMaker, chest: Any) -> None:
    second = add(chest, "Second")
    panel = make_panel()
    panel._parameters.inputVolume = chest
    assert "Done" in press_and_wait(panel)
    assert len(synthetic()) == 1
    assert offered(panel.ui.moreSelector) == ["Second"]
    assert offered(panel.ui.inputSelector) == ["Chest", "Second"]
    assert offered(panel.ui.resultSelector) == ["Chest B20f (synthetic, linear)"]
    panel.ui.inputSelector.setCurrentNode(second)
    assert offered(panel.ui.moreSelector) == ["Chest"]


def test_synthetic_volume_loaded_from_a_file_is_left_out_as_soon_as_it_is_there(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel()
    loaded = add(chest, "smooth")
    loaded.SetAttribute(SYNTHETIC_KEY, "true")  # what Slicer's reader makes of the file's header, after adding the node
    waitUntil(lambda: offered(panel.ui.inputSelector) == ["Chest"], "the selectors to follow")
    assert offered(panel.ui.resultSelector) == ["smooth"]
    assert offered(panel.ui.moreSelector) == []
    assert panel.logic.newestCandidate() is chest


def test_synthetic_input_of_an_older_scene_gives_way_to_an_original(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel()
    press_and_wait(panel)
    panel._parameters.inputVolume = synthetic()[0]
    panel.exit()
    panel.enter()
    assert panel._parameters.inputVolume is chest


def test_volume_that_has_the_id_of_a_synthetic_one_of_a_former_scene_is_offered(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel()
    press_and_wait(panel)
    (former,) = (node.GetID() for node in synthetic())
    voxels = slicer.util.arrayFromVolume(chest).copy()
    panel.exit()
    slicer.mrmlScene.Clear(0)
    nodes = [slicer.util.addVolumeFromArray(voxels, name=name) for name in ("First", "Second")]
    assert nodes[1].GetID() == former
    panel.enter()
    assert panel.ui.inputSelector.currentNode() is nodes[1]
    assert offered(panel.ui.moreSelector) == ["First"]


def test_a_tick_that_outlives_its_volume_is_not_normalized(make_panel: PanelMaker, chest: Any) -> None:
    second = add(chest, "Second")
    panel = make_panel()
    panel._parameters.inputVolume = chest
    panel.ui.moreSelector.setCheckState(second, 2)
    assert panel._chosenNodes() == [chest, second]
    second.SetAttribute(provenance.SYNTHETIC, "true")
    assert panel._chosenNodes() == [chest]
    second.RemoveAttribute(provenance.SYNTHETIC)
    panel._parameters.inputVolume = second
    assert panel._chosenNodes() == [second]


def test_the_attribute_is_the_one_that_files_are_read_by() -> None:
    assert provenance.SYNTHETIC_IN_FILE == SYNTHETIC_KEY
