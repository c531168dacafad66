"""Scans that used to give a wrong number in silence, each with the right value or the refusal that names the fault."""

from __future__ import annotations

import gzip
import os
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from core.dicomseries import chest_slices, write_series
from core.refusals import refusal
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_second_volume, read_volume
from KernelNormalizationLib.core.plain_text import for_csv, for_html, for_terminal, plain
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.suitability import assess
from KernelNormalizationLib.core.volume import CTVolume

HU = chest_slices()
Change = Callable[[int, FileDataset], None]


def raw(ds: FileDataset, keyword: str, text: str) -> None:
    """A text that pydicom itself would not write into a numeric tag."""
    tag, content = Tag(keyword), text.encode()
    content += b" " * (len(content) % 2)
    ds[tag] = RawDataElement(tag, pydicom.datadict.dictionary_VR(tag), len(content), content, 0, False, True)


def only(which: int, edit: Callable[[FileDataset], object]) -> Change:
    def change(k: int, ds: FileDataset) -> None:
        if k == which:
            edit(ds)

    return change


def series(folder: Path, change: Change | None = None, hu: np.ndarray = HU) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(folder, hu, change=change)
    return folder


def volume_file(path: Path, voxels: np.ndarray = HU) -> Path:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.6, 0.7, 1.25))
    sitk.WriteImage(image, str(path))
    return path


def patched(path: Path, place: int, form: str, *values: object) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + form, content, place, *values)
    path.write_bytes(content)
    return path


def edited(path: Path, old: str, new: str) -> Path:
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))
    return path


class TestVolumeFiles:
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite_voxels_are_never_zero_hu(self, tmp_path: Path, suffix: str, bad: float) -> None:
        voxels = HU.astype(np.float32)
        voxels[3, 4, 5] = bad
        assert "1 voxel(s) are NaN or infinite" in refusal(volume_file(tmp_path / f"a{suffix}", voxels))

    def test_the_checksum_of_gzip_is_checked(self, tmp_path: Path) -> None:
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress(volume_file(tmp_path / "a.nii").read_bytes(), 0))
        content = bytearray(path.read_bytes())
        content[-300] ^= 1  # stored, not packed: only the checksum can tell
        path.write_bytes(content)
        assert "cut off or damaged" in refusal(path)

    def test_the_checksum_behind_a_large_file_is_read_too(self, tmp_path: Path) -> None:
        path = tmp_path / "a.nii.gz"
        large = volume_file(tmp_path / "a.nii", np.tile(HU, (2, 32, 24)))  # 5.9 MB, unpacked in blocks of 4 MB
        content = bytearray(gzip.compress(large.read_bytes(), 1))
        content[-8] ^= 1  # the checksum itself
        path.write_bytes(content)
        assert "cut off or damaged" in refusal(path)

    def test_spacing_that_is_missing_is_not_one_millimetre(self, tmp_path: Path) -> None:
        path = volume_file(tmp_path / "a.nrrd")
        assert "states no spacing" in refusal(edited(path, "space directions:", "#ace directions:"))
        path = volume_file(tmp_path / "a.mha")
        assert "states no spacing" in refusal(edited(path, "ElementSpacing", "ElementComment"))

    def test_sheared_and_scaled_axes(self, tmp_path: Path) -> None:
        path = volume_file(tmp_path / "a.mha")
        assert "right angles" in refusal(edited(path, "Matrix = 1 0 0", "Matrix = 1 .5 0"))
        path = volume_file(tmp_path / "b.mha")
        assert "right angles" in refusal(edited(path, "Matrix = 1", "Matrix = 2"))

    @pytest.mark.parametrize(
        ("place", "form", "values", "words"),
        [
            (108, "f", (0.0,), "begin at byte 0"),
            (108, "f", (344.0,), "begin at byte 344"),
            (108, "f", (np.nan,), "begin at byte nan"),
            (112, "2f", (0.0, -1024.0), "slope 0 and intercept -1024"),
            (280, "f", (-6.0,), "contradict"),
            (256, "f", (np.nan,), "quaternion (nan"),
            (344, "4s", (b"abc\0",), "magic"),
        ],
    )
    def test_nifti_headers_that_contradict_themselves(
        self, tmp_path: Path, place: int, form: str, values: tuple[object, ...], words: str
    ) -> None:
        assert words in refusal(patched(volume_file(tmp_path / "a.nii"), place, form, *values))

    def test_nifti_scaling_is_applied(self, tmp_path: Path) -> None:
        path = patched(volume_file(tmp_path / "a.nii"), 112, "2f", 1.25, 20.0)
        np.testing.assert_allclose(read_volume(path).hu, 1.25 * HU + 20.0)

    def test_nifti_directions_rounded_to_three_digits_are_read(self, tmp_path: Path) -> None:
        path = volume_file(tmp_path / "a.nii")
        patched(path, 252, "2h", 0, 1)
        c, s = 0.995, 0.105  # of 6 degrees; 1.0011 long, 0.0 at right angles
        patched(path, 280, "12f", -0.6 * c, 0.7 * s, 0, 1, -0.6 * s, -0.7 * c, 0, 2, 0, 0, 1.25, 3)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.hu, HU)
        np.testing.assert_allclose(volume.geometry.spacing, (1.25, 0.7, 0.6), rtol=1e-3)

    def test_a_header_that_promises_gigabytes_is_refused_before_they_are_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "a.nrrd"
        header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2000 2000 1500\nspacings: 1 1 1\nendian: little\n"
        header += "encoding: gzip\n\n"
        path.write_bytes(header.encode() + gzip.compress(bytes(1000)))
        assert "2000 x 2000 x 1500" in refusal(path)

    def test_a_pipe_is_refused_at_once(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.nrrd")
        assert "pipe" in refusal(tmp_path / "a.nrrd")

    def test_a_raw_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        path = volume_file(tmp_path / "a.mhd")
        (tmp_path / "a.raw").unlink()
        assert "names the data file “a.raw”, which is missing" in refusal(path)

    def test_a_name_that_is_no_utf8_is_read(self, tmp_path: Path) -> None:
        path = volume_file(tmp_path / "a.nrrd").rename(tmp_path / os.fsdecode(b"\xff\xe4.nrrd"))
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.hu, HU)
        assert volume.name.encode("utf-8")

    @pytest.mark.parametrize("rows", [1, 3])
    def test_images_of_one_or_three_rows(self, tmp_path: Path, rows: int) -> None:
        assert f"{rows} x 16 pixels" in refusal(volume_file(tmp_path / "a.nrrd", HU[:, :rows]))


class TestDicom:
    @pytest.mark.parametrize("which", [0, 5, 9])
    @pytest.mark.parametrize("left", [0, 100, 146, 320, 700, 1350])
    def test_a_file_that_was_cut_off_is_named(self, tmp_path: Path, which: int, left: int) -> None:
        path = series(tmp_path) / f"image{which:04d}.dcm"
        path.write_bytes(path.read_bytes()[:left])
        assert path.name in refusal(tmp_path)

    @pytest.mark.parametrize(("rows", "columns"), [(1, 16), (3, 16), (12, 1)])
    def test_images_of_a_few_pixels(self, tmp_path: Path, rows: int, columns: int) -> None:
        assert f"{rows} x {columns} pixels" in refusal(series(tmp_path, hu=HU[:, :rows, :columns]))

    def test_one_damaged_file_given_alone_is_called_so(self, tmp_path: Path) -> None:
        path = series(tmp_path) / "image0004.dcm"
        path.write_bytes(path.read_bytes()[:400])
        assert "image0004.dcm is a DICOM file that is cut off" in refusal(path)

    @pytest.mark.parametrize("text", ["abc", "nan", "-inf", "1e999", "1,5", "1\\2", "REMOVED"])
    @pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
    def test_a_rescale_that_is_no_number_in_one_slice(self, tmp_path: Path, keyword: str, text: str) -> None:
        message = refusal(series(tmp_path, only(4, lambda ds: raw(ds, keyword, text))))
        assert f"image0004.dcm states {keyword}" in message
        assert text in message

    def test_slope_and_intercept_of_each_slice_are_decimal_numbers(self, tmp_path: Path) -> None:
        slopes = np.where(np.arange(len(HU)) % 2, 1.0, 0.9375)

        def change(k: int, ds: FileDataset) -> None:
            ds.RescaleSlope, ds.RescaleIntercept = slopes[k], -1000.5

        expected = (HU.astype(float) + 1024.0) * slopes[:, None, None] - 1000.5
        np.testing.assert_allclose(read_volume(series(tmp_path, change)).hu, expected, atol=1e-3)

    @pytest.mark.parametrize(
        ("keyword", "text"), [("ImagePositionPatient", "0\\0\\nan"), ("PixelSpacing", "inf\\0.6"), ("PixelSpacing", "0.7")]
    )
    def test_a_place_that_is_not_finite(self, tmp_path: Path, keyword: str, text: str) -> None:
        assert keyword in refusal(series(tmp_path, only(3, lambda ds: raw(ds, keyword, text))))

    @pytest.mark.parametrize("text", ["0\\0.6", "0.7\\-0.6", "700\\600"])
    def test_a_pixel_spacing_that_is_no_length(self, tmp_path: Path, text: str) -> None:
        message = refusal(series(tmp_path, lambda k, ds: raw(ds, "PixelSpacing", text)))
        assert "image0000.dcm has pixel spacing [" in message
        assert "two positive lengths are needed" in message

    @pytest.mark.parametrize("change", [-4, -2, 2, 384])
    def test_pixels_of_another_length(self, tmp_path: Path, change: int) -> None:
        def edit(ds: FileDataset) -> None:
            ds.PixelData = ds.PixelData[:change] if change < 0 else ds.PixelData + bytes(change)

        assert f"holds {384 + change} bytes of pixels where 12 x 16 of 16 bits need 384" in refusal(
            series(tmp_path, only(2, edit))
        )

    def test_a_whole_series_of_monochrome1_is_a_ct_and_its_values_are_not_inverted(self, tmp_path: Path) -> None:
        def change(_: int, ds: FileDataset) -> None:
            ds.PhotometricInterpretation = "MONOCHROME1"

        np.testing.assert_array_equal(read_volume(series(tmp_path, change)).hu, HU)

    @pytest.mark.parametrize("value", ["MONOCHROME1", "RGB"])
    def test_one_slice_of_another_photometric_interpretation(self, tmp_path: Path, value: str) -> None:
        def edit(ds: FileDataset) -> None:
            ds.PhotometricInterpretation = value

        assert value in refusal(series(tmp_path, only(6, edit)))

    def test_a_whole_series_of_colours_is_refused(self, tmp_path: Path) -> None:
        def change(k: int, ds: FileDataset) -> None:
            ds.PhotometricInterpretation = "PALETTE COLOR"

        assert "image0000.dcm states the photometric interpretation “PALETTE COLOR”" in refusal(series(tmp_path, change))

    def test_a_slice_moved_sideways_and_back(self, tmp_path: Path) -> None:
        def edit(ds: FileDataset) -> None:
            ds.ImagePositionPatient = [-105.0, -95.5, ds.ImagePositionPatient[2]]

        assert "image0004.dcm lies 5.0 mm beside the line" in refusal(series(tmp_path, only(4, edit)))

    @pytest.mark.parametrize(
        ("keyword", "first", "second", "words"),
        [
            ("ConvolutionKernel", "B70f", "B20f", ("kernels", "“B70f” in 5 image(s)", "“B20f” in 5 image(s)")),
            ("StudyInstanceUID", "1.2", "1.3", ("studies",)),
            ("FrameOfReferenceUID", "1.2", "1.3", ("frames of reference",)),
            ("PatientID", "A7", "B8", ("patients", "patient 1 in 5")),
            ("SliceThickness", 1.5, 5.0, ("slice thicknesses",)),
            ("Exposure", 20, 200, ("exposures",)),
        ],
    )
    def test_what_must_be_one_in_a_series(
        self, tmp_path: Path, keyword: str, first: object, second: object, words: tuple[str, ...]
    ) -> None:
        message = refusal(series(tmp_path, lambda k, ds: setattr(ds, keyword, first if k < 5 else second)))
        assert all(word in message for word in words)
        assert "A7" not in message

    def test_modulated_tube_current_is_one_scan(self, tmp_path: Path) -> None:
        read_volume(series(tmp_path, lambda k, ds: setattr(ds, "Exposure", 100 + 9 * k)))

    @pytest.mark.parametrize("keyword", ["SliceThickness", "KVP"])
    @pytest.mark.parametrize("text", ["REMOVED", "3,000000"])
    def test_a_number_that_is_not_needed_may_be_an_anonymizers_text(self, tmp_path: Path, keyword: str, text: str) -> None:
        volume = read_volume(series(tmp_path, lambda _, ds: raw(ds, keyword, text)))
        np.testing.assert_array_equal(volume.hu, HU)
        assert any(keyword in note and text in note for note in volume.acquisition.reading_notes)
        assert volume.acquisition.slice_thickness_mm == (None if keyword == "SliceThickness" else 1.5)

    @pytest.mark.parametrize("packing", ["RLE", "deflated"])
    def test_packed_without_loss_gives_the_same_values(self, tmp_path: Path, packing: str) -> None:
        for path in series(tmp_path).iterdir():
            ds = pydicom.dcmread(path)
            if packing == "RLE":
                ds.compress(RLELossless)
            else:
                ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            ds.save_as(path)
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)

    def test_compression_with_loss_is_said_and_strong_one_refused(self, tmp_path: Path) -> None:
        def change(ratio: float | None) -> Change:
            def flag(_: int, ds: FileDataset) -> None:
                ds.LossyImageCompression = "01"
                if ratio is not None:
                    ds.LossyImageCompressionRatio = ratio

            return flag

        assert "up to 20:1" in refusal(series(tmp_path / "strong", change(20.0)))
        volume = read_volume(series(tmp_path / "weak", change(None)))
        assert any("compressed with loss (to an unknown degree)" in note for note in volume.acquisition.reading_notes)

    @pytest.mark.slow
    def test_what_happened_to_the_files_stands_in_the_verdict(self) -> None:
        sharp = make_sample(3, (24, 208, 208), (10.0, 1.6, 1.6)).sharp
        noted = replace(sharp, acquisition=replace(sharp.acquisition, reading_notes=("Compressed with loss.",)))
        assert "Compressed with loss." in assess(noted).reasons
        assert assess(noted).verdict == "untested"

    def test_a_step_that_changes_half_way_is_no_missing_slice(self, tmp_path: Path) -> None:
        def change(k: int, ds: FileDataset) -> None:
            ds.ImagePositionPatient = [0, 0, 3 * min(k, 9) + 5 * max(k - 9, 0)]

        message = refusal(series(tmp_path, change, chest_slices(15)))
        assert "10 slices every 3.00 mm, then 6 slices every 5.00 mm" in message
        assert "“image0000.dcm” to “image0009.dcm”" in message
        assert "Missing" not in message

    def test_of_two_series_in_one_folder_the_other_is_compared(self, tmp_path: Path) -> None:
        write_series(tmp_path, HU, number=3, kernel="B70f", stem="a")
        write_series(tmp_path, HU + 1, number=4, kernel="B30f", stem="b")
        np.testing.assert_array_equal(read_second_volume(tmp_path, None, tmp_path, "3").hu, HU + 1)
        np.testing.assert_array_equal(read_second_volume(tmp_path, "B70f", tmp_path, "3").hu, HU)
        with pytest.raises(InputError, match="--compare-series"):
            read_second_volume(tmp_path, None, tmp_path, None)

    def test_other_files_and_pipes_beside_the_images_do_no_harm(self, tmp_path: Path) -> None:
        series(tmp_path)
        os.mkfifo(tmp_path / "pipe.dcm")
        (tmp_path / "._image0000.dcm").write_bytes(b"notes of a file system")
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)


class TestText:
    def test_nothing_steers_a_terminal(self) -> None:
        assert for_terminal("B70f\x1b[31m 株", "cp1252") == "B70f?[31m ?"
        assert plain("a\x00b\x1b\n c\u202ed", 20) == "a\ufffdb\ufffd c\ufffdd"

    def test_no_markup_no_formula(self) -> None:
        assert for_html('<b title="x">') == "&lt;b title=&quot;x&quot;&gt;"
        assert for_csv("=1+1") == "'=1+1"
        assert for_csv("-3.5") == "-3.5"

    def test_a_volume_never_carries_control_characters(self, tmp_path: Path) -> None:
        volume = read_volume(series(tmp_path, lambda _, ds: raw(ds, "Manufacturer", "SIEMENS\x1b[2J")))
        assert isinstance(volume, CTVolume)
        assert "\x1b" not in str(volume.acquisition.manufacturer)
