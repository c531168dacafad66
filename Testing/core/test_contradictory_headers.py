"""Headers that state one thing twice, or whose field names are damaged: refused, as programs read them in different ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from core.dicomseries import chest_slices
from core.refusals import refusal

from KernelNormalizationLib.core.io.reading import read_volume

HU = chest_slices()
VOXELS = HU.astype("<i2").tobytes()
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 16 12 10\nendian: little\nencoding: raw\n"
    "space directions: (0.6,0,0) (0,0.7,0) (0,0,1.25)\nspace origin: (1,2,3)\n"
)
MHA = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    "Offset = 1 2 3\nElementSpacing = 0.6 0.7 1.25\nDimSize = 16 12 10\nElementType = MET_SHORT\n"
)


def nrrd(path: Path, more: str = "") -> Path:
    path.write_bytes((NRRD + more + "\n").encode() + VOXELS)
    return path


def mha(path: Path, more: str = "", header: str = MHA) -> Path:
    path.write_bytes((header + more + "ElementDataFile = LOCAL\n").encode() + VOXELS)
    return path


@pytest.mark.parametrize(
    "again", ["space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (5,5,5)", "CTKernelNormalization.kernel:=B20f"]
)
def test_a_nrrd_field_that_is_stated_twice(tmp_path: Path, again: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", f"CTKernelNormalization.kernel:=B70f\n{again}\n")
    assert "twice, with different values" in refusal(path)


def test_the_same_value_twice_and_repeated_free_texts_do_no_harm(tmp_path: Path) -> None:
    volume = read_volume(nrrd(tmp_path / "a.nrrd", "space origin: (1,2,3)\ncomment:=one\ncomment:=two\u2028lines\x85\n"))
    assert volume.geometry.spacing == (1.25, 0.7, 0.6)
    np.testing.assert_array_equal(volume.hu, HU)
    volume = read_volume(mha(tmp_path / "a.mha", "Offset = 1 2 3\nOrigin = 1.0 2.0 3.0\nComment = a\nComment = b\n"))
    assert volume.geometry.origin == (1.0, 2.0, 3.0)
    np.testing.assert_array_equal(volume.hu, HU)


@pytest.mark.parametrize("again", ["ElementSpacing = 1 1 1", "Offset = 9 9 9", "BinaryDataByteOrderMSB = True"])
def test_a_metaimage_field_that_is_stated_twice(tmp_path: Path, again: str) -> None:
    assert "twice, with different values" in refusal(mha(tmp_path / "a.mha", f"{again}\n"))


@pytest.mark.parametrize("again", ["Position = 9 9 9", "Rotation = 1 0 0 0 0 1 0 1 0", "ElementByteOrderMSB = True"])
def test_a_metaimage_field_that_is_stated_under_two_names(tmp_path: Path, again: str) -> None:
    assert "which mean the same" in refusal(mha(tmp_path / "a.mha", f"{again}\n"))


@pytest.mark.parametrize(("spacings", "fits"), [("0.6 0.7 1.25", True), ("nan nan nan", True), ("0.6 0.7 5", False)])
def test_spacings_beside_space_directions_of_a_nrrd(tmp_path: Path, spacings: str, fits: bool) -> None:
    path = nrrd(tmp_path / "a.nrrd", f"spacings: {spacings}\n")
    if fits:
        assert read_volume(path).geometry.spacing == (1.25, 0.7, 0.6)
    else:
        assert f"states the spacings “{spacings}” and space directions with the lengths 0.6 0.7 1.25 mm" in refusal(path)


@pytest.mark.parametrize(
    ("field", "damaged"),
    [("TransformMatrix", "TransformMatryx"), ("Offset", "Ofset"), ("BinaryDataByteOrderMSB", "BinaryDataByteOrderrMSB")],
)
def test_a_damaged_name_of_a_metaimage_field_is_not_ignored(tmp_path: Path, field: str, damaged: str) -> None:
    assert f"which is almost “{field}”" in refusal(mha(tmp_path / "a.mha", header=MHA.replace(field, damaged)))


@pytest.mark.parametrize("units", ["cm", "um"])
def test_a_metaimage_in_other_units_than_mm(tmp_path: Path, units: str) -> None:
    assert f"states lengths in “{units}”; only mm are read" in refusal(mha(tmp_path / "a.mha", f"DistanceUnits = {units}\n"))


def test_other_fields_of_metaimage_are_read_over(tmp_path: Path) -> None:
    more = (
        "ElementMin = -1024\nDistanceUnits = mm\nModality = MET_MOD_CT\nID = 3\nITK_original_spacing = 1 1 1\n0008|0060 = CT\n"
    )
    np.testing.assert_array_equal(read_volume(mha(tmp_path / "a.mha", more)).hu, HU)


@pytest.mark.parametrize("name", ["scan.hdr", "scan.img", "SCAN.HDR"])
def test_a_pair_of_nifti_files_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(400))
    assert "belongs to a pair of files (.hdr, .img); save the scan again as one .nii file" in refusal(tmp_path / name)


@pytest.mark.parametrize("space", ["space: scanner-xyz\n", "space: 3D-right-handed\n", None])
def test_a_file_without_an_anatomical_space_says_that_its_sides_are_assumed(tmp_path: Path, space: str | None) -> None:
    header = NRRD.replace("space: left-posterior-superior\n", space or "")
    if space is None:
        header = header.replace(
            "space directions: (0.6,0,0) (0,0.7,0) (0,0,1.25)\nspace origin: (1,2,3)", "spacings: 0.6 0.7 1.25"
        )
    (tmp_path / "a.nrrd").write_bytes((header + "\n").encode() + VOXELS)
    volume = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.hu, HU)
    assert volume.geometry.spacing == (1.25, 0.7, 0.6)
    (note,) = volume.acquisition.reading_notes
    assert "does not state the patient's left and right" in note
    assert read_volume(nrrd(tmp_path / "b.nrrd")).acquisition.reading_notes == ()
