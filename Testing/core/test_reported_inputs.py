"""Inputs as users of other programs report them: values that were filled in or cut off, lost directions, packed files."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from core.chests import Chest, make_chest, outside_circle
from core.dicomseries import chest_slices, write_series
from core.refusals import refusal

from KernelNormalizationLib.core.io.reading import read_volume

HU = chest_slices()


@pytest.fixture(scope="module")
def chest() -> Chest:
    return make_chest(slices=12, number=70.0, noise_hu=60.0)


def stored(path: Path, voxels: np.ndarray, spacing: tuple[float, float, float] = (0.6, 0.7, 1.25)) -> Path:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("fill", [0, 40])
def test_tissue_values_beyond_the_field_of_view_are_no_second_kernel(tmp_path: Path, chest: Chest, fill: int) -> None:
    """Resampling programs fill with 0; the share of that in a slice's tissue changes with the body."""
    beyond = outside_circle(chest, 0.8)
    hu = np.where(beyond, fill, np.rint(chest.volume.hu)).astype(np.int16)
    hu[:4][:, beyond[0] | (np.arange(hu.shape[1]) < 60)[:, None]] = fill
    assert read_volume(stored(tmp_path / "scan.nrrd", hu, (0.7, 0.7, 1.25))).acquisition.reading_notes == ()


@pytest.mark.parametrize("lowest", [-1e30, -3.4028235e38, -2e6])
def test_numbers_lower_than_any_padding_mark_what_was_not_imaged(tmp_path: Path, chest: Chest, lowest: float) -> None:
    beyond = outside_circle(chest)
    volume = read_volume(stored(tmp_path / "scan.nrrd", np.where(beyond, np.float32(lowest), chest.volume.hu)))
    assert np.array_equal(volume.padding_mask, beyond)
    assert volume.filled().min() > -1300.0
    few = chest.volume.hu.copy()
    few[3, 4, 5] = lowest
    assert "these are not Hounsfield units" in refusal(stored(tmp_path / "few.nrrd", few))


@pytest.mark.parametrize(("scale", "shift"), [(2048 / 4095, 1024.0), (0.5, 1000.0), (0.6, 1000.0)])
def test_values_that_were_scaled_for_a_network_are_told(tmp_path: Path, chest: Chest, scale: float, shift: float) -> None:
    """As a user of lungmask did: an index of 43 % instead of 11 %."""
    assert read_volume(stored(tmp_path / "scan.nrrd", chest.volume.hu)).shape == chest.volume.shape
    scaled = (chest.volume.hu + 1024.0) * scale - shift
    (note,) = read_volume(stored(tmp_path / "scaled.nrrd", scaled.astype(np.float32))).acquisition.reading_notes
    assert "look whether the values were scaled" in note


def test_a_scan_that_was_a_picture_in_between_is_said_to_have_steps(tmp_path: Path) -> None:
    """256 grey levels for 1500 HU: with an index of 11.2 % it became 10.6 % without a word."""
    chest = make_chest(slices=12, number=70.0, noise_hu=60.0)
    hu = np.where(chest.volume.hu < -500.0, np.rint(chest.volume.hu - 120.0), np.rint(chest.volume.hu))
    assert read_volume(stored(tmp_path / "whole.nrrd", hu.astype(np.int16))).acquisition.reading_notes == ()
    levels = np.rint((np.clip(hu, -1350.0, 150.0) + 1350.0) / 1500.0 * 255.0)
    notes = read_volume(stored(tmp_path / "levels.nrrd", (levels / 255.0 * 1500.0 - 1350.0).astype(np.float32)))
    assert any("the values lie 5.9 HU apart" in note for note in notes.acquisition.reading_notes)


@pytest.mark.parametrize("order", [[0, 2, 1], [1, 2, 0]], ids=["coronal", "sagittal"])
def test_slices_of_another_plane_without_their_directions_are_refused(tmp_path: Path, order: list[int]) -> None:
    image = sitk.GetImageFromArray(chest_slices(12, 24, 24))
    image.SetSpacing((0.7, 0.7, 1.25))
    lost = sitk.PermuteAxes(image, order)
    assert read_volume(written(lost, tmp_path / "kept.mha")).shape
    lost.SetDirection(np.eye(3).ravel().tolist())
    assert "the directions are not those of the scan" in refusal(written(lost, tmp_path / "lost.mha"))


def written(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path))
    return path


class TestCompression:
    @pytest.mark.parametrize(
        ("tags", "refused"),
        [
            ({"LossyImageCompression": "01", "LossyImageCompressionRatio": "20,0"}, True),
            ({"LossyImageCompression": "1", "LossyImageCompressionRatio": "20"}, True),
            ({"LossyImageCompressionRatio": "20"}, True),
            ({"LossyImageCompression": "01", "LossyImageCompressionRatio": "1"}, False),
            ({"LossyImageCompression": "YES"}, False),
            ({"LossyImageCompressionMethod": "ISO_15444_1"}, False),
            ({"LossyImageCompression": "01", "LossyImageCompressionRatio": "REMOVED"}, False),
        ],
    )
    def test_every_trace_of_a_loss_is_told(self, tmp_path: Path, tags: dict[str, str], refused: bool) -> None:
        def mark(_: int, ds: pydicom.FileDataset) -> None:
            for keyword, text in tags.items():
                tag, content = pydicom.tag.Tag(keyword), text.encode() + b" " * (len(text) % 2)
                vr = pydicom.datadict.dictionary_VR(tag)
                ds[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(content), content, 0, False, True)

        write_series(tmp_path, HU, change=mark)
        if refused:
            assert "up to 20:1" in refusal(tmp_path)
        else:
            (note,) = read_volume(tmp_path).acquisition.reading_notes
            assert "compressed with loss (to an unknown degree)" in note

    def test_a_history_without_loss_is_none(self, tmp_path: Path) -> None:
        write_series(tmp_path, HU, change=lambda _, ds: setattr(ds, "LossyImageCompression", "00"))
        assert read_volume(tmp_path).acquisition.reading_notes == ()


class TestNames:
    def test_nifti_is_unpacked_by_its_content_and_not_by_its_name(self, tmp_path: Path) -> None:
        plain = stored(tmp_path / "a.nii", HU).read_bytes()
        (tmp_path / "plain.nii.gz").write_bytes(plain)
        (tmp_path / "packed.nii").write_bytes(gzip.compress(plain))
        for name in ("plain.nii.gz", "packed.nii"):
            np.testing.assert_array_equal(read_volume(tmp_path / name).hu, HU)

    def test_an_archive_is_to_be_unpacked(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "CT.zip", "w") as archive:
            archive.writestr("a.dcm", b"x")
        assert "CT.zip is a packed archive; unpack it" in refusal(tmp_path / "CT.zip")
        assert "“CT.zip” is a packed archive: unpack it" in refusal(tmp_path)

    def test_of_a_folder_with_a_volume_file_the_file_is_named(self, tmp_path: Path) -> None:
        stored(tmp_path / "scan.nii", HU)
        assert "give the volume file itself, such as “scan.nii”" in refusal(tmp_path)

    def test_one_maker_in_two_spellings_is_one(self, tmp_path: Path) -> None:
        def spell(k: int, ds: pydicom.FileDataset) -> None:
            ds.Manufacturer = "SIEMENS" if k % 2 else "Siemens"

        write_series(tmp_path, HU, change=spell)
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)

    def test_a_decimal_comma_in_a_position_is_named_with_what_is_needed(self, tmp_path: Path) -> None:
        def comma(_: int, ds: pydicom.FileDataset) -> None:
            tag, content = pydicom.tag.Tag("ImagePositionPatient"), b"-110,0\\-95,5\\-310,2"
            ds[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(content), content, 0, False, True)

        write_series(tmp_path, HU, change=comma)
        assert "“-110,0\\-95,5\\-310,2”; 3 finite numbers are needed to place the image" in refusal(tmp_path)
