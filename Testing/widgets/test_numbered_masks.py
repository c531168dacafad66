"""Lung masks made elsewhere, whose structures are numbers: the panel's equal of the command line's ``--mask-labels``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from emphysemapanel import LEFT, RIGHT, SHAPE, EmphysemaPanel, chest, compute, panel

from EmphysemaQuantLib.core.lungs.label_schemes import SCHEMES
from EmphysemaQuantLib.logic import EmphysemaLogic
from EmphysemaQuantLib.mrml.numbered_masks import SuppliedMask
from EmphysemaQuantLib.mrml.segments import ijkToRasOf
from EmphysemaQuantLib.ui.parameters import LabelChoice
from KernelNormalizationLib.core.errors import InputError

__all__ = ["chest", "panel"]

# The hole of the made chest lies in its right lung.
EI_RIGHT = 100.0 * 3 * 64 / (10 * 32 * 22)


def label_map(chest: Any, right: int, left: int) -> Any:
    labels = np.zeros(SHAPE, np.int16)
    labels[RIGHT], labels[LEFT] = right, left
    return slicer.util.addVolumeFromArray(
        labels, ijkToRAS=ijkToRasOf(chest), name="mask.nii.gz", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )


def as_segments(chest: Any, right: int, left: int) -> Any:
    """The label map imported as Slicer imports one: segments with numbers whose names say nothing of lungs."""
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mask")
    logic = slicer.modules.segmentations.logic()
    assert logic.ImportLabelmapToSegmentationNode(label_map(chest, right, left), segmentation)
    return segmentation


@pytest.mark.parametrize("made", [label_map, as_segments])
@pytest.mark.parametrize(("right", "left"), [(1, 2), (2, 1), (4, 3)])
def test_right_is_right_whatever_its_number(made: Any, right: int, left: int, chest: Any) -> None:
    result, _ = EmphysemaLogic().quantify(chest, maskNode=made(chest, right, left))
    indices = {entry.region: entry.ei_percent for entry in result.volume.indices}
    assert indices["right"] == pytest.approx(EI_RIGHT)
    assert indices["left"] == 0.0


def test_a_numbering_that_contradicts_the_scan_is_refused_in_the_panels_words(chest: Any) -> None:
    with pytest.raises(InputError, match=r"are exchanged in the scan.*“Mask numbers”") as refused:
        EmphysemaLogic().quantify(chest, maskNode=SuppliedMask(label_map(chest, 2, 1), "lungmask"))
    assert "--mask-labels" not in str(refused.value)


def test_a_label_map_on_another_grid_is_refused(chest: Any) -> None:
    mask = label_map(chest, 1, 2)
    mask.SetOrigin(30.0, 0.0, 0.0)
    with pytest.raises(InputError, match="Resample the mask onto the volume first"):
        EmphysemaLogic().quantify(chest, maskNode=mask)


def test_the_choices_are_those_of_the_command_line() -> None:
    assert [choice.scheme for choice in LabelChoice] == [None, *SCHEMES]


def test_the_panel_reads_the_numbers_as_chosen_and_says_so(panel: EmphysemaPanel, chest: Any) -> None:
    panel.enter()
    assert not panel.ui.maskLabelsComboBox.enabled
    panel.ui.maskSelector.setCurrentNode(as_segments(chest, 4, 3))
    assert panel.ui.maskLabelsComboBox.enabled
    panel.ui.maskLabelsComboBox.setCurrentIndex([*LabelChoice].index(LabelChoice.lungmask))
    assert "no lung in the numbering of “lungmask”; choose another with “Mask numbers”" in compute(panel)
    panel.ui.maskLabelsComboBox.setCurrentIndex([*LabelChoice].index(LabelChoice.luna16))
    assert "Done" in compute(panel)
    assert "Mask labels, read with “luna16”: 3 left lung, 4 right lung." in panel.ui.detailsLabel.text
    # the lungs of the result have names and are the mask from now on
    assert panel._parameters.maskSegmentation is panel._parameters.segmentation
    assert panel._parameters.maskLabels is LabelChoice.automatic
