"""Slices that came damaged in part, which no checksum of DICOM shows: their neighbours do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from core.dicomseries import chest_slices, write_series
from core.refusals import refusal

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.simulated_chest import make_sample


def chest() -> np.ndarray:
    """One slice of a simulated chest ten times with the noise of ten slices, int16 HU (k, j, i): so alike are thin slices."""
    noise = np.random.default_rng(4).normal(0.0, 40.0, (10, 96, 96))
    image = make_sample(2, (10, 96, 96), (20.0, 3.5, 3.5)).sharp.hu[5]
    return np.clip(np.rint(image + noise), -1024, 3000).astype(np.int16)


@pytest.mark.parametrize("rows", [slice(48, 96), slice(40, 44)])
def test_rows_that_were_not_copied_are_named(tmp_path: Path, rows: slice) -> None:
    hu = chest()
    hu[5, rows] = -1024  # stored zeros
    write_series(tmp_path, hu)
    assert refusal(tmp_path).startswith("image0005.dcm shows nothing in ")


@pytest.mark.parametrize(("slope", "told"), [(1, False), (2, True)])
def test_a_slope_that_makes_soft_tissue_bone_is_told(tmp_path: Path, slope: int, told: bool) -> None:
    write_series(tmp_path, make_sample(2, (10, 96, 96), (5.0, 3.5, 3.5)).smooth.hu)
    for path in tmp_path.iterdir():
        ds = pydicom.dcmread(path)
        ds.RescaleSlope = slope
        ds.save_as(path)
    notes = read_volume(tmp_path).acquisition.reading_notes
    assert any("look whether the rescale slope is wrong" in note for note in notes) == told


@pytest.mark.parametrize("which", [0, 9])
def test_an_end_slice_without_an_image_is_told(tmp_path: Path, which: int) -> None:
    hu = chest_slices()
    hu[which] = -1024  # stored zeros
    write_series(tmp_path, hu)
    (note,) = read_volume(tmp_path).acquisition.reading_notes
    assert note.startswith(f"1 slice(s) at the ends hold one value and no image, first “image000{which}.dcm”")


def test_a_link_that_leads_nowhere_is_a_missing_slice_if_it_is_named_like_one(tmp_path: Path) -> None:
    hu = chest_slices()
    write_series(tmp_path, hu)
    (tmp_path / "latest").symlink_to(tmp_path / "gone")
    np.testing.assert_array_equal(read_volume(tmp_path).hu, hu)
    last = sorted(tmp_path.glob("*.dcm"))[-1]
    last.unlink()
    last.symlink_to(tmp_path / "not mounted" / last.name)
    assert refusal(tmp_path).startswith(f"“{last.name}” is named like the others and is no DICOM file")


def test_pixels_of_an_unknown_type_are_damaged(tmp_path: Path) -> None:
    """One changed bit in the type of the pixel element, which is read last."""
    write_series(tmp_path, chest_slices())
    path = sorted(tmp_path.iterdir())[3]
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00OW") + 4
    path.write_bytes(content[:at] + b"Ow" + content[at + 2 :])
    assert refusal(tmp_path).startswith("image0003.dcm is cut off or damaged")


def test_a_pixel_that_no_ct_stores_is_named(tmp_path: Path) -> None:
    hu = chest_slices()

    def wrap(k: int, ds: pydicom.Dataset) -> None:
        if k == 4:
            stored = np.frombuffer(ds.PixelData, "<u2").copy()
            stored[50] = 65535
            ds.PixelData = stored.tobytes()

    write_series(tmp_path, hu, change=wrap)
    assert "1 pixel(s) that no CT has, such as 64511 HU" in refusal(tmp_path)


def test_high_padding_in_every_slice_is_no_damage(tmp_path: Path) -> None:
    hu = chest()
    j, i = np.mgrid[:96, :96] - 47.5
    beyond = np.hypot(j, i) > 47.0

    def pad(_: int, ds: pydicom.Dataset) -> None:
        stored = np.frombuffer(ds.PixelData, "<u2").reshape(96, 96).copy()
        stored[beyond] = 63536
        ds.PixelData = stored.tobytes()

    write_series(tmp_path, hu, change=pad)
    volume = read_volume(tmp_path)
    assert volume.padding_mask[:, beyond].all()
    assert np.array_equal(volume.hu[:, ~beyond], hu[:, ~beyond])


def test_a_block_that_fits_no_neighbour_is_told_and_a_whole_scan_has_no_note(tmp_path: Path) -> None:
    hu = chest()
    write_series(tmp_path / "whole", hu)
    assert read_volume(tmp_path / "whole").acquisition.reading_notes == ()
    hu[6, 30:70, 20:60] = hu[6, 30:70, 20:60][::-1, ::-1] + 400  # what a decoder makes of a damaged code block
    write_series(tmp_path / "damaged", hu)
    (note,) = read_volume(tmp_path / "damaged").acquisition.reading_notes
    assert note.startswith("1 slice(s) differ from the slices before and after them")
    assert "image0006.dcm" in note


@pytest.mark.parametrize("where", ["words", "code"])
def test_loss_that_only_the_derivation_tells_of_is_noted(tmp_path: Path, where: str) -> None:
    def remark(_: int, ds: pydicom.Dataset) -> None:
        if where == "words":
            ds.DerivationDescription = "Lossy JPEG 2000"
        else:
            item = pydicom.Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "113040", "DCM", "Lossy Compression"
            ds.DerivationCodeSequence = [item]

    write_series(tmp_path, chest_slices(), change=remark)
    (note,) = read_volume(tmp_path).acquisition.reading_notes
    assert note == "10 of 10 images were compressed with loss (to an unknown degree); noise and EI may be too low."


class TestSeriesOfOneFile:
    """``--series`` with a single file was ignored."""

    def test_that_it_belongs_to(self, tmp_path: Path) -> None:
        write_series(tmp_path, chest_slices(), kernel="B70f", number=3, stem="a")
        write_series(tmp_path, chest_slices(seed=6), kernel="B30f", number=4, stem="b")
        one = sorted(tmp_path.glob("a*"))[0]
        assert np.array_equal(read_volume(one, "B70f").hu, chest_slices())
        with pytest.raises(InputError, match=r"is of another series \(number 3, kernel B70f.*than --series B30f names"):
            read_volume(one, "B30f")

    def test_of_a_volume_file(self, tmp_path: Path) -> None:
        path = tmp_path / "scan.nrrd"
        path.write_bytes(b"")
        with pytest.raises(InputError, match="is one volume, so there is no series to choose with --series 3"):
            read_volume(path, "3")


def volume_file(path: Path, hu: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((0.7, 0.7, 1.25))
    sitk.WriteImage(image, str(path))
    return path


class TestVolumeFiles:
    @pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
    @pytest.mark.parametrize("fill", [0, -1024])
    @pytest.mark.parametrize("rows", [slice(48, 96), slice(0, 48), slice(40, 44)])
    def test_a_slice_that_is_blank_in_part_is_named(self, tmp_path: Path, suffix: str, fill: int, rows: slice) -> None:
        hu = chest()
        hu[5, rows] = fill
        assert refusal(volume_file(tmp_path / f"scan{suffix}", hu)).startswith("slice 6 of 10 shows nothing in ")

    def test_what_was_lost_lies_together_in_the_stored_order(self, tmp_path: Path) -> None:
        stored = np.ascontiguousarray(chest().transpose(1, 0, 2))  # coronal: rows are slices
        stored[48, 3:7] = 0
        image = sitk.GetImageFromArray(stored)
        image.SetSpacing((0.7, 1.25, 0.7))
        image.SetDirection((1, 0, 0, 0, 0, 1, 0, 1, 0))
        sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
        assert refusal(tmp_path / "scan.nrrd").startswith("slice 49 of 96 shows nothing in 4 of 10 rows")

    @pytest.mark.parametrize("kind", ["DICOM", "NRRD"])
    @pytest.mark.parametrize("after", [0, 2])
    def test_a_copy_that_broke_off_within_a_slice_is_told(self, tmp_path: Path, kind: str, after: int) -> None:
        hu = chest()
        last = len(hu) - 1 - after
        hu[last, 50:], hu[last + 1 :] = -1024, -1024
        if kind == "DICOM":
            write_series(tmp_path, hu)
        path = tmp_path if kind == "DICOM" else volume_file(tmp_path / "scan.nrrd", hu)
        (note,) = read_volume(path).acquisition.reading_notes
        name = f"image{last:04d}.dcm" if kind == "DICOM" else f"slice {last + 1} of 10"
        assert note.startswith(f"“{name}”, the last with an image, shows nothing in ")

    def test_so_is_one_that_broke_off_within_a_row(self, tmp_path: Path) -> None:
        hu = chest()
        hu[9, 51:], hu[9, 50, 10:] = -1024, -1024
        write_series(tmp_path, hu)
        (note,) = read_volume(tmp_path).acquisition.reading_notes
        assert note.startswith("“image0009.dcm”, the last with an image, shows nothing in ")

    def test_padding_and_air_at_the_ends_are_no_damage(self, tmp_path: Path) -> None:
        hu = chest()
        turned = hu.copy()
        for k in range(3):  # a volume that was turned about its left-right axis
            turned[k, : 70 - 30 * k] = -2000
        hu[-2:] = -1024
        for voxels in (turned, hu):
            assert read_volume(volume_file(tmp_path / "scan.nrrd", voxels)).acquisition.reading_notes == ()

    def test_a_block_that_fits_no_neighbour_is_told(self, tmp_path: Path) -> None:
        hu = chest()
        hu[6, 30:70, 20:60] = hu[6, 30:70, 20:60][::-1, ::-1] + 400
        (note,) = read_volume(volume_file(tmp_path / "scan.nii", hu)).acquisition.reading_notes
        assert note.startswith("1 slice(s) differ from the slices before and after them")
        assert "slice 7 of 10" in note

    def test_slices_far_apart_are_not_compared(self, tmp_path: Path) -> None:
        hu = chest()
        hu[6, 30:70, 20:60] = hu[6, 30:70, 20:60][::-1, ::-1] + 400  # as anatomy changes over a centimetre
        image = sitk.GetImageFromArray(hu)
        image.SetSpacing((0.7, 0.7, 10.0))
        sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
        assert read_volume(tmp_path / "scan.nrrd").acquisition.reading_notes == ()


class TestRepeatedSlices:
    @pytest.mark.parametrize(("place", "of"), [(5, 4), (8, 2), (9, 0)])
    def test_a_slice_in_the_place_of_a_lost_one_is_told(self, tmp_path: Path, place: int, of: int) -> None:
        """Each file has its own position and instance UID: only the voxels show it."""
        hu = chest_slices(10, 24, 32)
        hu[place] = hu[of]
        write_series(tmp_path, hu)
        told = [note for note in read_volume(tmp_path).acquisition.reading_notes if "equal another one" in note]
        assert told == [
            f"1 slice(s) equal another one in every voxel, first “image{place:04d}.dcm” and “image{of:04d}.dcm”: a slice "
            "stands in the place of one that was lost, or slices were multiplied. Its lung is counted twice."
        ]

    def test_in_a_volume_file_too_and_empty_slices_are_none(self, tmp_path: Path) -> None:
        hu = chest_slices(12, 24, 32).astype(np.float32)
        hu[:2] = hu[-2:] = -1024.0
        image = sitk.GetImageFromArray(hu)
        sitk.WriteImage(image, str(tmp_path / "ends.nrrd"))
        assert not any("equal another" in note for note in read_volume(tmp_path / "ends.nrrd").acquisition.reading_notes)
        hu[6] = hu[5]
        sitk.WriteImage(sitk.GetImageFromArray(hu), str(tmp_path / "twice.nrrd"))
        (note,) = [n for n in read_volume(tmp_path / "twice.nrrd").acquisition.reading_notes if "equal another" in n]
        assert "first “slice 7 of 12” and “slice 6 of 12”" in note
