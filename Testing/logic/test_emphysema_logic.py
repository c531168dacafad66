"""Emphysema quantification on real MRML nodes, on a made chest whose emphysema index is known by construction."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from logic.toychest import EI_RIGHT, HOLES, SHAPE, VOXEL_ML, chest_hu, lung_boxes

from EmphysemaQuantLib.core.results import quantification
from EmphysemaQuantLib.core.results.measurement import Measurement
from EmphysemaQuantLib.core.results.table import MAIN_COLUMNS, MEANINGS
from EmphysemaQuantLib.logic import EmphysemaLogic, OutputNodes, sliceOfMost
from EmphysemaQuantLib.mrml import segments, table_and_plot_nodes, view_overlay
from EmphysemaQuantLib.ui import summary
from KernelNormalizationLib.core.errors import InputError, LungNotFoundError
from KernelNormalizationLib.mrml import provenance


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def segment_array(outputs: OutputNodes, role: str, volume: Any) -> np.ndarray:
    (segment,) = segments.segmentIds(outputs.segmentation, role)
    return slicer.util.arrayFromSegmentBinaryLabelmap(outputs.segmentation, segment, volume) > 0


def cell(table: Any, row: int, column: str) -> Any:
    return table.GetTable().GetValueByName(row, column).ToString()


def test_segments_are_the_masks_voxel_by_voxel_although_they_overlap(logic: EmphysemaLogic, chest: Any) -> None:
    _, outputs = logic.quantify(chest)
    right, left = lung_boxes()
    np.testing.assert_array_equal(segment_array(outputs, "rightLung", chest), right)
    np.testing.assert_array_equal(segment_array(outputs, "leftLung", chest), left)
    np.testing.assert_array_equal(segment_array(outputs, "emphysema", chest), chest_hu() < -950)


def test_segments_have_names_colours_fill_and_terminology(logic: EmphysemaLogic, chest: Any) -> None:
    _, outputs = logic.quantify(chest)
    segmentation, display = outputs.segmentation.GetSegmentation(), outputs.segmentation.GetDisplayNode()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == ["Right lung", "Left lung", "Emphysema"]
    for style in (segments.RIGHT, segments.LEFT, segments.EMPHYSEMA):
        (segment_id,) = segments.segmentIds(outputs.segmentation, style.role)
        segment = segmentation.GetSegment(segment_id)
        assert segment.GetColor() == pytest.approx(style.color)
        assert display.GetSegmentOpacity2DFill(segment_id) == pytest.approx(style.fill)
        entry = slicer.vtkSlicerTerminologyEntry()
        value = vtk.reference("")
        assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), value)
        logic_of_terms = slicer.modules.terminologies.logic()
        assert logic_of_terms.DeserializeTerminologyEntry(str(value), entry)
    assert "87433001" in str(value)


def test_lung_terminology_is_one_that_slicer_knows(scene: Any) -> None:
    terms = slicer.modules.terminologies.logic()
    entry = slicer.vtkSlicerTerminologyEntry()
    assert terms.DeserializeTerminologyEntry(segments.RIGHT.terminology, entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Lung"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Right"


def test_table_holds_the_known_index_with_units(logic: EmphysemaLogic, chest: Any) -> None:
    _, outputs = logic.quantify(chest)
    table = outputs.table
    assert [cell(table, row, "region") for row in range(3)] == ["whole", "right", "left"]
    assert float(cell(table, 1, "EI [%]")) == pytest.approx(EI_RIGHT, abs=1e-4)
    assert float(cell(table, 0, "EI [%]")) == pytest.approx(EI_RIGHT / 2, abs=1e-4)
    assert float(cell(table, 2, "EI [%]")) == 0.0
    assert float(cell(table, 1, "EV [mL]")) == pytest.approx(280 * VOXEL_ML)
    assert float(cell(table, 0, "TLV [mL]")) == pytest.approx(2 * 12 * 20 * 14 * VOXEL_ML, abs=1e-4)
    assert [table.GetColumnUnitLabel(title) for title in MAIN_COLUMNS] == ["%", "mL", "mL", "HU", "HU"]
    assert all("Research use only" in table.GetColumnDescription(title) for title in MEANINGS)
    assert table.GetAttribute(table_and_plot_nodes.THRESHOLD_ATTRIBUTE) == "-950"
    assert table.GetLocked(), "measured numbers must not be edited"


def test_threshold_changes_the_index(logic: EmphysemaLogic, chest: Any) -> None:
    at_minus_850, _ = logic.quantify(chest, thresholdHu=-850.0)
    assert at_minus_850.volume.whole.ei_percent == 100.0
    strictly_below, _ = logic.quantify(chest, thresholdHu=-980.0)
    assert strictly_below.volume.whole.ei_percent == 0.0


def test_threshold_out_of_range_is_refused(logic: EmphysemaLogic, chest: Any) -> None:
    with pytest.raises(InputError, match="threshold is -200 HU; choose one from -1000 to -800"):
        logic.quantify(chest, thresholdHu=-200.0)


def test_comparison_splits_emphysema_into_kept_and_removed(logic: EmphysemaLogic, chest: Any, synthetic: Any) -> None:
    result, outputs = logic.quantify(chest, synthetic)
    kept, removed = segment_array(outputs, "kept", chest), segment_array(outputs, "removed", chest)
    assert (kept.sum(), removed.sum()) == (140, 140)
    assert not (kept & removed).any()
    np.testing.assert_array_equal(kept | removed, chest_hu() < -950)
    assert result.agreement is not None
    assert result.agreement.delta_ei_points == pytest.approx(-EI_RIGHT / 4)
    assert [cell(outputs.table, row, "volume") for row in (0, 3)] == ["Chest B70f", "Chest B70f B20f (synthetic)"]
    added = segment_array(outputs, "added", chest)
    assert not added.any()


def drawn(display: Any, outputs: OutputNodes) -> set[str]:
    """Roles of the emphysema segments that a display node draws."""
    roles = ("emphysema", "comparedEmphysema", "removed", "kept", "added")
    ids = {role: segments.segmentIds(outputs.segmentation, role) for role in roles}
    return {role for role, found in ids.items() if found and display.GetSegmentVisibility(found[0])}


def test_every_volume_has_a_display_of_its_own_emphysema(logic: EmphysemaLogic, chest: Any, synthetic: Any) -> None:
    result, outputs = logic.quantify(chest, synthetic)
    (scan, own), (other, second) = view_overlay.displays(outputs.segmentation)
    assert (scan, other) == (chest, synthetic)
    assert (drawn(own, outputs), drawn(second, outputs)) == ({"emphysema"}, {"comparedEmphysema"})
    np.testing.assert_array_equal(segment_array(outputs, "comparedEmphysema", chest), result.compared.emphysema)
    ids = [segments.segmentIds(outputs.segmentation, role)[0] for role in ("emphysema", "comparedEmphysema")]
    assert len({outputs.segmentation.GetSegmentation().GetSegment(i).GetColor() for i in ids}) == 1
    assert second.GetSegmentOpacity2DFill(ids[1]) == pytest.approx(segments.COMPARED.fill)
    view_overlay.drawSegments(outputs.segmentation, change=True)
    assert drawn(own, outputs) == drawn(second, outputs) == {"removed", "kept", "added"}


def names_of_change(outputs: OutputNodes) -> list[str]:
    segmentation = outputs.segmentation.GetSegmentation()
    ids = [segments.segmentIds(outputs.segmentation, style.role)[0] for style in segments.CHANGE]
    return [segmentation.GetSegment(i).GetName() for i in ids]


@pytest.mark.slow
def test_removed_by_normalization_is_said_of_a_scan_and_its_partner_only(
    logic: EmphysemaLogic, chest: Any, synthetic: Any
) -> None:
    _, outputs = logic.quantify(chest, synthetic)
    assert names_of_change(outputs) == ["Removed by normalization", "Kept", "Added by normalization"]
    _, reversed_outputs = logic.quantify(synthetic, chest)
    assert names_of_change(reversed_outputs) == ["Removed by normalization", "Kept", "Added by normalization"]
    for role, voxels in (("removed", 140), ("added", 0)):
        assert segment_array(reversed_outputs, role, chest).sum() == voxels, "the scan comes first, whichever was chosen first"
    follow_up = slicer.util.addVolumeFromArray(chest_hu(), ijkToRAS=np.diag([-1.0, -1.0, 2.0, 1.0]), name="Follow-up")
    _, outputs = logic.quantify(chest, follow_up, outputs=outputs)
    assert names_of_change(outputs) == ["Only in Chest B70f", "In both", "Only in Follow-up"]
    synthetic.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, follow_up.GetID())
    _, outputs = logic.quantify(chest, synthetic, outputs=outputs)
    assert names_of_change(outputs)[0] == "Only in Chest B70f", "synthetic, but made from another scan"


def test_second_run_reuses_the_nodes_and_keeps_the_users_names(
    logic: EmphysemaLogic, chest: Any, synthetic: Any, scene: Any
) -> None:
    _, outputs = logic.quantify(chest, synthetic)
    (emphysema,) = segments.segmentIds(outputs.segmentation, "emphysema")
    outputs.segmentation.GetSegmentation().GetSegment(emphysema).SetName("Holes")
    before = node_ids(scene)
    _, again = logic.quantify(chest, outputs=outputs)
    assert again == outputs
    assert node_ids(scene) == before
    assert outputs.segmentation.GetSegmentation().GetSegment(emphysema).GetName() == "Holes"
    assert outputs.segmentation.GetSegmentation().GetNumberOfSegments() == 3


def test_segments_that_share_a_labelmap_are_replaced_each_by_itself(logic: EmphysemaLogic, chest: Any) -> None:
    _, outputs = logic.quantify(chest)
    segmentation = outputs.segmentation.GetSegmentation()
    foreign = segmentation.AddEmptySegment("", "Heart")
    segments.writeMask(outputs.segmentation, foreign, chest, chest_hu() == 40.0)
    segmentation.CollapseBinaryLabelmaps(False)
    assert segmentation.GetNumberOfLayers() < segmentation.GetNumberOfSegments()
    hu = slicer.util.arrayFromVolume(chest)
    hu[HOLES], hu[4:8, 12:22, 30:35] = -860.0, -980.0
    _, outputs = logic.quantify(chest, outputs=outputs)
    for role, mask in zip(("rightLung", "leftLung", "emphysema"), (*lung_boxes(), hu < -950.0), strict=True):
        np.testing.assert_array_equal(segment_array(outputs, role, chest), mask)
    np.testing.assert_array_equal(segments.readMask(outputs.segmentation, foreign, chest), chest_hu() == 40.0)


def test_surfaces_of_a_former_result_do_not_stay(logic: EmphysemaLogic, chest: Any) -> None:
    _, outputs = logic.quantify(chest)
    outputs.segmentation.CreateClosedSurfaceRepresentation()
    _, outputs = logic.quantify(chest, outputs=outputs)
    assert not outputs.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


def test_edited_and_renamed_lung_segments_are_used_as_the_mask(logic: EmphysemaLogic, chest: Any) -> None:
    _, outputs = logic.quantify(chest)
    (right,) = segments.segmentIds(outputs.segmentation, "rightLung")
    edited = lung_boxes()[0]
    edited[:8] = False
    segments.writeMask(outputs.segmentation, right, chest, edited)
    outputs.segmentation.GetSegmentation().GetSegment(right).SetName("Lunge rechts")
    result, _ = logic.quantify(chest, maskNode=outputs.segmentation, outputs=outputs)
    np.testing.assert_array_equal(result.lung_mask.labels == 1, edited)
    assert result.volume.whole.ei_percent == 0.0


def test_a_mask_of_ones_own_is_judged_too(logic: EmphysemaLogic, chest: Any) -> None:
    """These lungs are toys of some millilitres; a mask that is taken over unseen would be called ok."""
    _, outputs = logic.quantify(chest)
    result, _ = logic.quantify(chest, maskNode=outputs.segmentation, outputs=outputs)
    assert result.lung_mask.quality.verdict == "failed"
    assert "mL of lung were found" in summary.asText(result)


def airway_tube() -> np.ndarray:
    airways = np.zeros(SHAPE, bool)
    airways[2:14, 15:18, 23:25] = True
    return airways


def with_airways(volume: Any, compared: Any, mask: Any, threshold: float, progress: Any) -> Measurement:
    own = quantification.supplied_mask(*lung_boxes(), airway_tube())
    return quantification.quantify(volume, compared, mask or own, threshold, progress)


def test_airways_are_a_segment_and_stand_in_table_and_report_with_their_volume(chest: Any) -> None:
    result, outputs = EmphysemaLogic(with_airways).quantify(chest)
    outside = airway_tube() & ~lung_boxes()[0] & ~lung_boxes()[1]
    assert outside.any()
    np.testing.assert_array_equal(segment_array(outputs, "airways", chest), outside)
    millilitres = np.count_nonzero(outside) * 2.0 / 1000.0
    assert float(cell(outputs.table, 0, "airways [mL]")) == pytest.approx(millilitres, abs=1e-4)
    assert cell(outputs.table, 1, "airways [mL]") == ""
    assert f"Airways left out of the lungs: {millilitres:.0f} mL" in summary.asText(result)
    assert f"Airways left out of the lungs: {millilitres:.0f} mL" in summary.asText(result)


def test_airways_stay_when_the_lungs_are_edited_and_measured_again(chest: Any) -> None:
    logic = EmphysemaLogic(with_airways)
    first, outputs = logic.quantify(chest)
    second, outputs = logic.quantify(chest, maskNode=outputs.segmentation, outputs=outputs)
    np.testing.assert_array_equal(second.lung_mask.airways, first.lung_mask.airways)
    assert len(segments.segmentIds(outputs.segmentation, "airways")) == 1


def test_a_mask_without_airways_says_that_their_air_counts_as_lung(logic: EmphysemaLogic, chest: Any) -> None:
    result, outputs = logic.quantify(chest)
    assert "This lung mask has no airways" in summary.asText(result)
    assert segments.segmentIds(outputs.segmentation, "airways") == []


@pytest.mark.parametrize("names", [("Right Lung", "left lung"), ("lung_upper_lobe_right", "lung_lower_lobe_left")])
def test_foreign_segmentation_is_recognized_by_its_names(logic: EmphysemaLogic, chest: Any, names: tuple[str, str]) -> None:
    node = segments.newSegmentationNode("Lobes")
    node.SetReferenceImageGeometryParameterFromVolumeNode(chest)
    for name, mask in zip(names, lung_boxes(), strict=True):
        segment = node.GetSegmentation().AddEmptySegment("", name)
        segments.writeMask(node, segment, chest, mask)
    result, _ = logic.quantify(chest, maskNode=node)
    assert result.volume.whole.ei_percent == pytest.approx(EI_RIGHT / 2)


def test_segmentation_without_lungs_is_refused(logic: EmphysemaLogic, chest: Any) -> None:
    node = segments.newSegmentationNode("Heart")
    node.GetSegmentation().AddEmptySegment("", "Heart")
    with pytest.raises(InputError, match="“Heart” has no segment that is recognizably a lung"):
        logic.quantify(chest, maskNode=node)


def test_empty_lung_segments_are_refused(logic: EmphysemaLogic, chest: Any) -> None:
    node = segments.newSegmentationNode("Empty")
    node.GetSegmentation().AddEmptySegment("", "Right lung")
    with pytest.raises(InputError, match="lung segments are empty"):
        logic.quantify(chest, maskNode=node)


def test_no_lung_is_an_error_and_leaves_the_scene_as_it_was(scene: Any) -> None:
    hu = np.full((16, 40, 48), 40.0, dtype=np.float32)
    hu[:, :4] = -1000.0
    node = slicer.util.addVolumeFromArray(hu, ijkToRAS=np.diag([-5.0, -5.0, 5.0, 1.0]), name="Abdomen")
    before = node_ids(scene)
    with pytest.raises(LungNotFoundError, match="No lung was found in “Abdomen”"):
        EmphysemaLogic().quantify(node)
    assert node_ids(scene) == before


def test_failure_while_writing_takes_the_new_nodes_out_again(
    logic: EmphysemaLogic, chest: Any, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr("EmphysemaQuantLib.logic.writeHistogram", fails)
    before = node_ids(scene)
    with pytest.raises(RuntimeError, match="disk full"):
        logic.quantify(chest)
    assert node_ids(scene) == before


def test_volumes_on_different_grids_are_refused(logic: EmphysemaLogic, chest: Any) -> None:
    moved = slicer.util.addVolumeFromArray(chest_hu(), ijkToRAS=np.diag([-1.0, -1.0, 3.0, 1.0]), name="Other")
    with pytest.raises(InputError, match="not in the same place"):
        logic.quantify(chest, moved)
    with pytest.raises(InputError, match="Both volumes are the same"):
        logic.quantify(chest, chest)


def test_segments_belong_to_the_original_in_whatever_order_the_volumes_are_chosen(
    logic: EmphysemaLogic, chest: Any, synthetic: Any
) -> None:
    result, outputs = logic.quantify(synthetic, chest)
    assert result.volume.name == chest.GetName()
    assert outputs.segmentation.GetNodeReference(segments.VOLUME_REFERENCE_ROLE) is chest
    np.testing.assert_array_equal(segment_array(outputs, "emphysema", chest), chest_hu() < -950)


def test_partner_is_found_by_provenance_both_ways(logic: EmphysemaLogic, chest: Any, synthetic: Any) -> None:
    assert logic.partnerOf(chest) is synthetic
    assert logic.partnerOf(synthetic) is chest
    assert logic.preferredVolume() is chest
    assert logic.partnerOf(None) is None


def test_histogram_sums_to_all_lung_voxels_and_marks_the_threshold(
    logic: EmphysemaLogic, chest: Any, synthetic: Any, scene: Any
) -> None:
    result, outputs = logic.quantify(chest, synthetic)
    for volume in result.results:
        assert volume.histogram.sum() == pytest.approx(100.0)
    assert outputs.chart.GetNumberOfPlotSeriesNodes() == 3
    line = outputs.chart.GetNthPlotSeriesNode(2).GetTableNode().GetTable()
    assert [line.GetValueByName(row, "HU").ToDouble() for row in (0, 1)] == [-950.0, -950.0]
    assert "research use only" in outputs.chart.GetTitle()


def test_no_curve_has_a_volumes_name(logic: EmphysemaLogic, chest: Any, synthetic: Any) -> None:
    logic.quantify(chest, synthetic)
    assert slicer.util.getNode(chest.GetName()) is chest
    assert slicer.util.getNode(synthetic.GetName()) is synthetic
    assert len(slicer.util.getNodes("Chest B70f")) == 1


def test_lungs_on_another_grid_are_put_on_the_volumes(logic: EmphysemaLogic, chest: Any) -> None:
    _, outputs = logic.quantify(chest)
    chest.SetOrigin(2.0, 0.0, 0.0)  # moved by two voxels to the right
    mask = segments.deferredLungMask(outputs.segmentation, chest)()
    np.testing.assert_array_equal(mask.labels[:, :, 2:], np.where(lung_boxes()[0], 1, lung_boxes()[1] * 2)[:, :, :-2])


def test_removing_the_outputs_leaves_only_the_volumes(logic: EmphysemaLogic, chest: Any, synthetic: Any, scene: Any) -> None:
    before = node_ids(scene)
    _, outputs = logic.quantify(chest, synthetic)
    logic.remove(outputs)
    assert node_ids(scene) == before


def test_outputs_survive_saving_and_reloading_the_scene(logic: EmphysemaLogic, chest: Any, scene: Any, tmp_path: Path) -> None:
    _, outputs = logic.quantify(chest)
    name = outputs.segmentation.GetName()
    bundle = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(bundle), None)
    scene.Clear(0)
    assert scene.ReadFromMRB(str(bundle))
    (volume,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert segmentation.GetName() == name
    mask = segments.deferredLungMask(segmentation, volume)()
    np.testing.assert_array_equal(mask.labels == 1, lung_boxes()[0])


def test_slice_of_most_names_the_fullest_slice() -> None:
    assert sliceOfMost(chest_hu() < -950) == 4
    assert sliceOfMost(np.zeros((3, 4, 5), bool)) is None


def test_a_spreadsheet_runs_no_volume_name_as_a_formula(logic: EmphysemaLogic, chest: Any) -> None:
    chest.SetName("=1+1")
    result, _ = logic.quantify(chest)
    rows = list(csv.DictReader(summary.asCsv(result).splitlines()))
    assert {row["volume"] for row in rows} == {"'=1+1"}


def test_a_segment_that_cannot_be_put_on_the_grid_is_named(
    logic: EmphysemaLogic, chest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, outputs = logic.quantify(chest)
    (right,) = segments.segmentIds(outputs.segmentation, "rightLung")
    chest.SetOrigin(0.25, 0.0, 0.0)
    failing = SimpleNamespace(ResampleOrientedImageToReferenceOrientedImage=lambda *_: False)
    monkeypatch.setattr(slicer, "vtkOrientedImageDataResample", failing)
    with pytest.raises(RuntimeError, match=f"segment {right} of .* could not be put on the volume's grid"):
        logic.quantify(chest, maskNode=outputs.segmentation, outputs=outputs)


def test_a_segment_that_cannot_be_written_is_named(scene: Any, chest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = segments.newSegmentationNode("Lungs")
    empty = node.GetSegmentation().AddEmptySegment("", "right lung")
    node.GetSegmentation().GetSegment(empty).RemoveAllRepresentations()
    failing = SimpleNamespace(SetBinaryLabelmapToSegment=lambda *_: False)
    monkeypatch.setattr(slicer, "vtkSlicerSegmentationsModuleLogic", failing)
    with pytest.raises(RuntimeError, match=f"segment {empty} of “Lungs” could not be written"):
        segments.writeMask(node, empty, chest, lung_boxes()[0])
