"""NRRD, NIfTI and MHA files: read exactly or refused with a reason."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from core.dicomseries import chest_slices
from core.refusals import refusal
from hypothesis import given
from hypothesis import strategies as st

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.volume import CTVolume, Geometry

HU = chest_slices().astype(np.float32)
SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha")
GEOMETRY = Geometry((1.25, 0.7, 0.6))


def stored(path: Path, voxels: np.ndarray, *, vector: bool = False) -> Path:
    image = sitk.GetImageFromArray(voxels, isVector=vector)
    if image.GetDimension() == 3:
        image.SetSpacing((0.6, 0.7, 1.25))
    sitk.WriteImage(image, str(path))
    return path


def nrrd_with(path: Path, spacing: str) -> Path:
    header = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 16 12 10\nendian: little\nencoding: raw\nspacings: {spacing}\n\n"
    path.write_bytes(header.encode() + HU.astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("first_line", [b"NRRD0004\x05", b"NRRD0009\n", b"NRRD00\n"])
def test_a_damaged_first_line_of_a_nrrd_file_is_refused(tmp_path: Path, first_line: bytes) -> None:
    path = nrrd_with(tmp_path / "a.nrrd", "0.6 0.7 1.25")
    assert read_volume(path).hu.shape == HU.shape
    path.write_bytes(path.read_bytes().replace(b"NRRD0004\n", first_line, 1))
    assert "does not begin like a NRRD file" in refusal(path)


def test_a_compressed_metaimage_that_states_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(HU), str(path), useCompression=True)
    assert read_volume(path).hu.shape == HU.shape
    size = re.search(rb"CompressedDataSize = (\d+)", whole := path.read_bytes())
    assert size is not None
    path.write_bytes(whole.replace(size[0], size[0][:-1], 1))
    assert f"but its header states {int(size[1]) // 10}" in refusal(path)


class TestReading:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
    def test_any_number_type_gives_the_same_float32_values(self, tmp_path: Path, suffix: str, kind: type) -> None:
        volume = read_volume(stored(tmp_path / f"scan{suffix}", HU.astype(kind)))
        assert volume.hu.dtype == np.float32
        np.testing.assert_array_equal(volume.hu, HU)
        assert volume.name == "scan"
        # NIfTI stores spacing in float32
        np.testing.assert_allclose(volume.geometry.spacing, (1.25, 0.7, 0.6), atol=1e-6)

    def test_oblique_and_flipped_directions_are_kept(self, tmp_path: Path) -> None:
        image = sitk.GetImageFromArray(HU)
        direction = [0.96, -0.28, 0.0, -0.28, -0.96, 0.0, 0.0, 0.0, -1.0]
        image.SetDirection(direction)
        image.SetOrigin((1.5, -2.25, 300.125))
        sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
        geometry = read_volume(tmp_path / "a.nrrd").geometry
        np.testing.assert_allclose(np.ravel(geometry.direction), direction, atol=1e-12)
        for index in [(0, 0, 0), (3, 2, 1)]:
            expected = image.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose((geometry.ijk_to_lps @ [*index, 1.0])[:3], expected, atol=1e-9)

    def test_a_path_that_does_not_exist_says_what_to_give(self, tmp_path: Path) -> None:
        assert "does not exist" in refusal(tmp_path / "no.nrrd")
        assert "DICOM folder" in refusal(tmp_path / "no.nrrd")

    def test_another_format_is_named_with_those_that_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "scan.txt").write_text("x" * 500)
        message = refusal(tmp_path / "scan.txt")
        assert "scan.txt is neither DICOM nor one of" in message
        assert ".nrrd" in message


class TestRefusals:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_an_empty_file(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"scan{suffix}"
        path.touch()
        assert f"scan{suffix}" in refusal(path)

    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("share", [0.3, 0.98])
    def test_a_file_that_was_cut_off(self, tmp_path: Path, suffix: str, share: float) -> None:
        path = stored(tmp_path / f"scan{suffix}", HU)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        assert f"scan{suffix}" in refusal(path)

    def test_a_metaimage_that_keeps_fields_of_another_format_is_read(self, tmp_path: Path) -> None:
        image = sitk.GetImageFromArray(HU.astype(np.int16))
        for name, text in (("0018|1210", "B70f"), ("0008|103e", "THORAX"), ("NRRD_kinds[0]", "domain")):
            image.SetMetaData(name, text)
        sitk.WriteImage(image, str(tmp_path / "scan.mha"))
        np.testing.assert_array_equal(read_volume(tmp_path / "scan.mha").hu, HU)

    def test_a_compressed_file_of_several_members_is_whole(self, tmp_path: Path) -> None:
        content = stored(tmp_path / "scan.nii", HU).read_bytes()
        (tmp_path / "two.nii.gz").write_bytes(gzip.compress(content[:900]) + gzip.compress(content[900:]))
        np.testing.assert_array_equal(read_volume(tmp_path / "two.nii.gz").hu, HU)

    @pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
    def test_two_dimensions(self, tmp_path: Path, suffix: str) -> None:
        message = refusal(stored(tmp_path / f"slice{suffix}", HU[0]))
        assert "2 dimensions" in message
        assert "whole series" in message

    @pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
    def test_four_dimensions(self, tmp_path: Path, suffix: str) -> None:
        assert "4 dimensions" in refusal(stored(tmp_path / f"gated{suffix}", np.stack([HU, HU])))

    def test_fewer_than_eight_slices(self, tmp_path: Path) -> None:
        message = refusal(stored(tmp_path / "thin.nrrd", HU[:7]))
        assert "7 slice(s)" in message
        assert "at least 8" in message
        assert read_volume(stored(tmp_path / "just.nrrd", HU[:8])).shape[0] == 8

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_nan_and_infinity(self, tmp_path: Path, bad: float) -> None:
        voxels = HU.copy()
        voxels[3, 4, 5] = bad
        assert "1 voxel(s) are NaN or infinite" in refusal(stored(tmp_path / "bad.nrrd", voxels))

    def test_a_number_too_large_for_float32(self, tmp_path: Path) -> None:
        voxels = HU.astype(np.float64)
        voxels[0, 0, 0] = 1e300
        assert "infinite" in refusal(stored(tmp_path / "huge.nrrd", voxels))

    def test_complex_voxels(self, tmp_path: Path) -> None:
        assert "complex" in refusal(stored(tmp_path / "kspace.nii", HU.astype(np.complex64)))
        # MHA has no complex type and keeps the two parts as a vector
        assert "2 components" in refusal(stored(tmp_path / "kspace.mha", HU.astype(np.complex64)))

    @pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
    @pytest.mark.parametrize("components", [2, 3])
    def test_colour_and_vector_voxels(self, tmp_path: Path, suffix: str, components: int) -> None:
        voxels = np.repeat((HU[..., None] + 1024).astype(np.uint8), components, axis=-1)
        assert f"{components} components" in refusal(stored(tmp_path / f"rgb{suffix}", voxels, vector=True))

    @pytest.mark.parametrize(
        ("what", "low", "high"),
        [("label map", 0, 4), ("MR", 0, 1800), ("PET SUV", 0, 25), ("unshifted CT", 0, 4095), ("PET Bq", 0, 90000)],
    )
    def test_values_of_another_modality(self, tmp_path: Path, what: str, low: int, high: int) -> None:
        voxels = np.random.default_rng(1).integers(low, high + 1, HU.shape).astype(np.float32)
        message = refusal(stored(tmp_path / "other.nrrd", voxels))
        assert "not Hounsfield units" in message
        assert f"{voxels.min():g} to {voxels.max():g}" in message
        assert "MR, PET or labels" in message

    @pytest.mark.parametrize("field", ["BinaryData = True", "BinaryDataByteOrderMSB = False", "CompressedData = False"])
    def test_a_damaged_switch_of_metaimage_is_read_neither_way(self, tmp_path: Path, field: str) -> None:
        path = stored(tmp_path / "scan.mha", HU)
        content = path.read_bytes()
        assert field.encode() in content
        name = field.split(" = ")[0]
        path.write_bytes(content.replace(field.encode(), f"{name} = talse".encode()))
        assert f"states {name} = “talse”; True or False is needed" in refusal(path)

    @pytest.mark.parametrize("spacing", ["0 1 1", "1 1 0"])
    def test_a_spacing_of_zero_in_nrrd(self, tmp_path: Path, spacing: str) -> None:
        message = refusal(nrrd_with(tmp_path / "flat.nrrd", spacing))
        assert f"({spacing.replace(' ', ', ')}) mm" in message
        assert "must be positive" in message

    @pytest.mark.parametrize("value", [0.0, -0.7, float("nan")])
    @pytest.mark.parametrize("axis", [1, 2, 3])
    def test_a_spacing_that_is_not_positive_in_nifti(self, tmp_path: Path, value: float, axis: int) -> None:
        path = stored(tmp_path / "scan.nii", HU)
        content = bytearray(path.read_bytes())
        struct.pack_into("<f", content, 76 + 4 * axis, value)
        path.write_bytes(content)
        message = refusal(path)
        assert "must be positive" in message
        assert f"{value:g}" in message


class TestVolume:
    """The same rules hold for voxels that come from memory, as from a Slicer node."""

    @pytest.mark.parametrize("shape", [(12, 16), (2, 10, 12, 16)])
    def test_must_have_three_dimensions(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match=f"{len(shape)} dimensions"):
            CTVolume(np.full(shape, -900.0, np.float32), GEOMETRY)

    @pytest.mark.parametrize("shape", [(0, 12, 16), (10, 0, 16)])
    def test_must_not_be_empty(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match="empty"):
            CTVolume(np.zeros(shape, np.float32), GEOMETRY)

    def test_must_be_real(self) -> None:
        with pytest.raises(InputError, match="complex"):
            CTVolume(HU.astype(np.complex128), GEOMETRY)  # type: ignore[arg-type]

    @given(bad=st.one_of(st.floats(max_value=0.0), st.just(float("nan")), st.just(float("inf"))), axis=st.integers(0, 2))
    def test_must_have_positive_spacing(self, bad: float, axis: int) -> None:
        spacing = [1.25, 0.7, 0.6]
        spacing[axis] = bad
        with pytest.raises(InputError, match="must be positive"):
            CTVolume(HU, Geometry((spacing[0], spacing[1], spacing[2])))

    def test_must_not_be_longer_than_any_scan(self) -> None:
        """A decimal point lost from the spacing makes a row of 512 pixels metres long."""
        with pytest.raises(InputError, match="the scan would be 3123 mm long or wide"):
            CTVolume(np.full((10, 8, 512), -900.0, np.float32), Geometry((1.0, 0.61, 6.1)))
        CTVolume(np.full((400, 8, 8), -900.0, np.float32), Geometry((5.0, 0.61, 0.61)))

    def test_of_nothing_but_padding_is_refused(self) -> None:
        with pytest.raises(InputError, match="Every voxel is padding"):
            CTVolume(np.full((10, 4, 4), -2048.0, np.float32), GEOMETRY, padding_value=-2048.0)

    def test_mostly_padding_is_judged_by_what_is_inside(self) -> None:
        hu = np.full((10, 40, 40), -3024.0, np.float32)
        hu[:, 10:22, 10:26] = HU
        assert CTVolume(hu, GEOMETRY, padding_value=-3024.0).padding_mask.sum() == hu.size - HU.size

    def test_geometries_match_only_if_every_axis_does(self) -> None:
        flipped = Geometry(GEOMETRY.spacing, direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)))
        assert GEOMETRY.matches(Geometry((1.25, 0.7, 0.6)))
        assert not GEOMETRY.matches(flipped)
        assert not GEOMETRY.matches(Geometry((1.25, 0.6, 0.7)))
        assert not GEOMETRY.matches(Geometry((1.25, 0.7, 0.6), (0.0, 0.0, 0.1)))

    def test_voxels_of_another_shape_do_not_fit_in(self) -> None:
        with pytest.raises(InputError, match=r"\(9, 12, 16\)"):
            CTVolume(HU, GEOMETRY).with_hu(HU[:9], name="x", synthetic=True)
