"""Kernel normalization on real MRML nodes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from KernelNormalizationLib.core.errors import Cancelled, InputError
from KernelNormalizationLib.core.methods.protocol import Method, NormalizationResult
from KernelNormalizationLib.core.progress import Progress, ProgressTracker
from KernelNormalizationLib.core.provenance.hashes import voxels_sha256
from KernelNormalizationLib.core.provenance.manifest import require_record_of, seal_is_broken, sealed
from KernelNormalizationLib.core.volume import CTVolume
from KernelNormalizationLib.logic import NormalizationLogic
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.mrml.volumes import addVolumeNode, geometryFromNode, volumeFromNode


class RaisesBy100:
    """Adds 100 HU, slice by slice: slow enough in steps to be cancelled, simple enough to check by hand."""

    def __init__(self, method: Method) -> None:
        self.method = method

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        progress.start("Normalizing", volume.shape[0])
        for _ in range(volume.shape[0]):
            progress.advance()
        raised = volume.with_hu(volume.hu + 100.0, name=volume.name, synthetic=True)
        return NormalizationResult(raised, {"method": self.method, "model": None, "seconds": 0.1})


@pytest.fixture
def logic(scene: Any) -> NormalizationLogic:
    return NormalizationLogic(RaisesBy100)


def ijk_to_ras(node: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def test_result_has_the_input_geometry_and_the_normalized_voxels(logic: NormalizationLogic, ct_node: Any) -> None:
    output = logic.normalize(ct_node, "linear", overrideGate=True)
    np.testing.assert_allclose(ijk_to_ras(output), ijk_to_ras(ct_node), rtol=0, atol=1e-6)
    expected = slicer.util.arrayFromVolume(ct_node).astype(np.float32) + 100.0
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), expected)
    assert slicer.util.arrayFromVolume(output).dtype == np.float32


def test_result_is_named_and_marked_as_synthetic_with_its_provenance(logic: NormalizationLogic, ct_node: Any) -> None:
    ct_node.SetAttribute(provenance.KERNEL, "B70f")
    output = logic.normalize(ct_node, "linear", overrideGate=True)
    assert output.GetName() == "Chest B70f B20f (synthetic, linear)"
    assert output.GetAttribute("CTKernelNormalization.Synthetic") == "true"
    assert output.GetAttribute("CTKernelNormalization.ResearchUseOnly") == "true"
    assert output.GetAttribute("CTKernelNormalization.InputNodeID") == ct_node.GetID()
    assert json.loads(output.GetAttribute("CTKernelNormalization.Record"))["method"] == "linear"
    assert output.GetAttribute(provenance.KERNEL) == "B70f"
    assert provenance.inputOf(output) is ct_node
    assert logic.syntheticPartner(ct_node) is output
    assert "not for diagnosis" in output.GetDescription()


def test_volumes_of_several_runs_are_told_apart_by_method_and_run(logic: NormalizationLogic, ct_node: Any) -> None:
    made = RaisesBy100("unet").normalize(logic.volumeFromNode(ct_node), ProgressTracker())
    result = replace(made, record={"method": "unet"})
    nodes = [
        logic.addResult(result, ct_node),
        logic.normalize(ct_node, "linear", overrideGate=True),
        logic.addResult(result, ct_node),
    ]
    assert [node.GetName().removeprefix(ct_node.GetName()) for node in nodes] == [
        " B20f (synthetic, UNet)",
        " B20f (synthetic, linear)",
        " B20f (synthetic, UNet, run 2)",
    ]


def test_input_node_is_not_modified(logic: NormalizationLogic, ct_node: Any) -> None:
    before = slicer.util.arrayFromVolume(ct_node).copy()
    modified = ct_node.GetImageData().GetMTime()
    logic.normalize(ct_node, overrideGate=True)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(ct_node), before)
    assert ct_node.GetImageData().GetMTime() == modified
    assert ct_node.GetName() == "Chest B70f"
    assert ct_node.GetAttributeNames() == ()


def test_window_and_level_are_those_of_the_input(logic: NormalizationLogic, ct_node: Any) -> None:
    display = logic.normalize(ct_node, overrideGate=True).GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (1400.0, -500.0, 0)


def test_result_joins_the_study_of_the_input(logic: NormalizationLogic, ct_node: Any, scene: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct_node) or hierarchy.CreateItem(study, ct_node), study)
    output = logic.normalize(ct_node, overrideGate=True)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(output)) == study


def test_cancelled_run_leaves_the_scene_as_it_was(logic: NormalizationLogic, ct_node: Any, scene: Any) -> None:
    before = node_ids(scene)
    seen: list[int] = []
    tracker = ProgressTracker(lambda report: seen.append(report.done), lambda: len(seen) > 4)
    with pytest.raises(Cancelled, match="nothing was kept"):
        logic.normalize(ct_node, "linear", tracker, overrideGate=True)
    assert seen, "the run ended before it could be cancelled"
    assert node_ids(scene) == before


def test_failed_run_leaves_the_scene_as_it_was(ct_node: Any, scene: Any) -> None:
    class RunsOutOfMemory(RaisesBy100):
        def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
            raise MemoryError("12 GB")

    before = node_ids(scene)
    with pytest.raises(MemoryError):
        NormalizationLogic(RunsOutOfMemory).normalize(ct_node, overrideGate=True)
    assert node_ids(scene) == before


def test_padding_comes_back_bit_exact(logic: NormalizationLogic, ct_node: Any) -> None:
    voxels = slicer.util.arrayFromVolume(ct_node)
    voxels[:, :, :6] = -2048
    slicer.util.arrayFromVolumeModified(ct_node)
    output = slicer.util.arrayFromVolume(logic.normalize(ct_node, overrideGate=True))
    assert (output[:, :, :6] == -2048).all()
    assert (output[:, :, 6:] == voxels[:, :, 6:] + 100.0).all()


def test_volume_keeps_its_place_in_lps(logic: NormalizationLogic, ct_node: Any) -> None:
    volume = logic.volumeFromNode(ct_node)
    k, j, i = 2, 5, 7
    assert volume.hu[k, j, i] == 700.0
    ras = ijk_to_ras(ct_node) @ [i, j, k, 1]
    np.testing.assert_allclose(volume.geometry.ijk_to_lps @ [i, j, k, 1], ras * [-1, -1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(volume.geometry.spacing, (1.25, 0.7, 0.7), atol=1e-12)


@pytest.mark.parametrize("flip", [False, True], ids=["right-handed", "left-handed"])
def test_nrrd_round_trip_keeps_every_voxel_at_its_ras_position(
    logic: NormalizationLogic, ct_node: Any, tmp_path: Path, flip: bool
) -> None:
    if flip:
        matrix = ijk_to_ras(ct_node)
        matrix[:, 2] *= -1
        ct_node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    output = logic.normalize(ct_node, overrideGate=True)
    path = tmp_path / "synthetic.nrrd"
    assert save(output, path)
    image = sitk.ReadImage(str(path))
    points = [(i, j, k) for k in (0, 2, 11) for j in (0, 5, 19) for i in (0, 7, 23)]
    for point in points:
        ras = (ijk_to_ras(output) @ [*point, 1])[:3]
        index = image.TransformPhysicalPointToContinuousIndex([-ras[0], -ras[1], ras[2]])
        np.testing.assert_allclose(index, np.round(index), atol=1e-4)
        there = image.GetPixel(*np.round(index).astype(int).tolist())
        assert there == slicer.util.arrayFromVolume(output)[point[2], point[1], point[0]]


def test_saved_synthetic_volume_is_recognized_when_read_from_the_file(
    logic: NormalizationLogic, ct_node: Any, tmp_path: Path
) -> None:
    from KernelNormalizationLib.core.io.reading import read_volume

    ct_node.SetAttribute(provenance.KERNEL, "B70f")
    path = tmp_path / "synthetic.nrrd"
    assert save(logic.normalize(ct_node, overrideGate=True), path)
    volume = read_volume(path)
    assert volume.synthetic
    assert volume.acquisition.kernel == "B70f"


def save(node: Any, path: Path) -> bool:
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    return bool(storage.WriteData(node))


HEADER = {
    "0018,1210": "B70f",
    "0008,0070": "SIEMENS",
    "0008,1090": "Sensation 16",
    "0018,0050": "3.0",
    "0018,0060": "100",
    "0008,0060": "CT",
    "0008,0008": "ORIGINAL\\PRIMARY\\AXIAL",
    "0020,000D": "1.2.3",
}


def test_dicom_tags_describe_the_acquisition(scene: Any, ct_node: Any) -> None:
    ct_node.SetAttribute("DICOM.instanceUIDs", "1.2.3.4 1.2.3.5")
    acquisition = NormalizationLogic(readTag=lambda uid, tag: HEADER.get(tag, "")).volumeFromNode(ct_node).acquisition
    assert (acquisition.kernel, acquisition.is_siemens, acquisition.slice_thickness_mm) == ("B70f", True, 3.0)
    assert acquisition.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert acquisition.contrast_agent is None


def test_volume_without_dicom_tags_has_an_unknown_kernel(logic: NormalizationLogic, ct_node: Any) -> None:
    acquisition = logic.volumeFromNode(ct_node).acquisition
    assert acquisition.kernel is None
    assert acquisition.is_siemens is None


def test_a_thickness_that_is_no_number_is_left_out(scene: Any, ct_node: Any) -> None:
    ct_node.SetAttribute("DICOM.instanceUIDs", "1.2.3.4")
    header = HEADER | {"0018,0050": "thin"}
    logic = NormalizationLogic(readTag=lambda uid, tag: header.get(tag, ""))
    assert logic.volumeFromNode(ct_node).acquisition.slice_thickness_mm is None


@pytest.mark.parametrize("tag", ["0008,103E", "0020,4000", "0008,2111"])
def test_an_exported_synthetic_series_from_the_database_counts_as_synthetic(scene: Any, ct_node: Any, tag: str) -> None:
    ct_node.SetAttribute("DICOM.instanceUIDs", "1.2.3.4")
    header = HEADER | {tag: "synthetic B20f, research only"}
    volume = NormalizationLogic(readTag=lambda uid, wanted: header.get(wanted, "")).volumeFromNode(ct_node)
    assert (volume.synthetic, volume.acquisition.kernel) == (True, "B20f (synthetic)")
    assert provenance.isSynthetic(ct_node)


def test_another_modality_is_refused(scene: Any, ct_node: Any) -> None:
    ct_node.SetAttribute("DICOM.instanceUIDs", "1.2.3.4")
    logic = NormalizationLogic(readTag=lambda uid, tag: "MR" if tag == "0008,0060" else "")
    with pytest.raises(InputError, match="is MR, not CT"):
        logic.volumeFromNode(ct_node)


def test_a_tilted_series_as_slicer_loads_it_is_refused_and_not_to_be_hardened(
    logic: NormalizationLogic, ct_node: Any, scene: Any
) -> None:
    warp = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Chest acquisition transform")
    ct_node.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InputError, match=r"“Chest acquisition transform”, as a series with tilt") as caught:
        logic.normalize(ct_node)
    assert "Harden" not in str(caught.value)


def test_transformed_volume_is_refused_and_says_how_to_harden(logic: NormalizationLogic, ct_node: Any, scene: Any) -> None:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    ct_node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match=r"under the transform “Shift”.+Harden"):
        logic.normalize(ct_node, overrideGate=True)
    ct_node.HardenTransform()
    assert logic.normalize(ct_node, overrideGate=True) is not None


def test_sheared_volume_is_refused(logic: NormalizationLogic, ct_node: Any) -> None:
    matrix = ijk_to_ras(ct_node)
    matrix[:3, 2] += matrix[:3, 1] * 0.3
    ct_node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    with pytest.raises(InputError, match="not perpendicular"):
        logic.normalize(ct_node, overrideGate=True)


def test_label_map_empty_and_colour_volumes_are_refused(logic: NormalizationLogic, scene: Any) -> None:
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Lungs")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    for node, words in ((labels, "not a scalar volume"), (empty, "holds no voxels"), (None, "No volume is selected")):
        with pytest.raises(InputError, match=words):
            logic.volumeFromNode(node)


def test_candidates_leave_out_labels_and_synthetic_volumes(logic: NormalizationLogic, ct_node: Any, scene: Any) -> None:
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Lungs")
    second = addVolumeNode(slicer.util.arrayFromVolume(ct_node), ct_node, "Second")
    logic.normalize(ct_node, overrideGate=True)
    assert [node.GetName() for node in logic.candidates()] == ["Chest B70f", "Second"]
    assert logic.newestCandidate() is second


def test_normalizing_twice_gives_distinct_names(logic: NormalizationLogic, ct_node: Any) -> None:
    assert logic.normalize(ct_node, overrideGate=True).GetName() != logic.normalize(ct_node, overrideGate=True).GetName()


def test_slices_without_distance_are_refused_with_the_spacing(logic: NormalizationLogic, ct_node: Any) -> None:
    matrix = vtk.vtkMatrix4x4()
    ct_node.GetIJKToRASMatrix(matrix)
    for row in range(3):
        matrix.SetElement(row, 2, 0.0)
    with pytest.raises(InputError, match=r"spacing \(.*0\.0.*\) mm; all three must be positive"):
        geometryFromNode(WithMatrix(ct_node, matrix))


class WithMatrix:
    """A volume node as a broken file would leave it; MRML itself repairs such a matrix when it is set."""

    def __init__(self, node: Any, matrix: Any) -> None:
        self.node, self.matrix = node, matrix

    def GetName(self) -> str:
        return str(self.node.GetName())

    def GetIJKToRASMatrix(self, matrix: Any) -> None:
        matrix.DeepCopy(self.matrix)


def test_a_node_s_record_follows_its_voxels_through_a_saved_scene(ct_node: Any, scene: Any, tmp_path: Path) -> None:
    class WithRecord(RaisesBy100):
        def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
            made = super().normalize(volume, progress)
            output = {"voxels_sha256": voxels_sha256(made.volume.hu)}
            return replace(made, record=sealed({**made.record, "output": output}))

    NormalizationLogic(WithRecord).normalize(ct_node, "linear", overrideGate=True)
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    (node,) = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if provenance.isSynthetic(n)]
    record = json.loads(node.GetAttribute(provenance.RECORD))
    assert seal_is_broken(record) is False
    require_record_of(volumeFromNode(node), record)
    slicer.util.arrayFromVolume(node)[2, 2, 2] += 1.0
    with pytest.raises(InputError, match="describes other voxels than the volume has"):
        require_record_of(volumeFromNode(node), record)
