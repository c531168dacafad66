"""The kinds in which DICOM comes: enhanced CT, every compression, both byte orders, DICOMDIR; voxels as in the plain files."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.dicomseries import chest_slices, write_series
from core.enhancedct import item, write_enhanced
from core.refusals import refusal
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless, RLELossless

from KernelNormalizationLib.core.io import dicom_decoding
from KernelNormalizationLib.core.io.dicom_series import find_series
from KernelNormalizationLib.core.io.reading import read_volume

HU = chest_slices(10, 32, 40)
Edit = Callable[[Path], None]


def by_dcmtk(*command: str) -> Edit:
    """A program of dcmtk that writes a file anew."""

    def edit(path: Path) -> None:
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} (Debian's dcmtk) is not installed")
        out = path.with_suffix(".out")
        subprocess.run([*command, str(path), str(out)], check=True, capture_output=True)
        out.replace(path)

    return edit


def by_pydicom(syntax: str, needs: str | None = None) -> Edit:
    def edit(path: Path) -> None:
        if needs is not None and importlib.util.find_spec(needs) is None:
            pytest.skip(f"{needs}, which encodes this, is not installed")
        ds = pydicom.dcmread(path)
        ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(path)

    return edit


LOSSLESS = {
    "JPEG lossless, first order": by_dcmtk("dcmcjpeg", "+e1"),
    "JPEG lossless, process 14": by_dcmtk("dcmcjpeg", "+el"),
    "JPEG lossless, plane of three": by_dcmtk("dcmcjpeg", "+el", "+sv", "4"),
    "JPEG lossless, mean of two": by_dcmtk("dcmcjpeg", "+el", "+sv", "7"),
    "JPEG-LS": by_dcmtk("dcmcjpls", "+el"),
    "JPEG 2000": by_pydicom(JPEG2000Lossless, "openjpeg"),
    "RLE": by_dcmtk("dcmcrle"),
    "deflated": by_dcmtk("dcmconv", "+td"),
    "big endian": by_dcmtk("dcmconv", "+tb"),
    "implicit": by_dcmtk("dcmconv", "+ti"),
}
# Series as scanners store them: sign, bits, and an intercept that makes negative numbers of air.
STORED = {
    "unsigned 16": (False, 16, -1024),
    "unsigned 12": (False, 12, -1024),
    "signed 16": (True, 16, 0),
    "signed 12": (True, 12, 0),
}


class TestWithoutLoss:
    @pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
    @pytest.mark.parametrize("edit", LOSSLESS.values(), ids=LOSSLESS)
    def test_every_voxel_is_the_originals(self, tmp_path: Path, edit: Edit, stored: tuple[bool, int, int]) -> None:
        signed, bits, intercept = stored

        def fewer_bits(_: int, ds: FileDataset) -> None:
            ds.BitsStored, ds.HighBit = bits, bits - 1

        write_series(tmp_path, HU[:8], signed=signed, intercept=intercept, change=fewer_bits)
        for path in sorted(tmp_path.iterdir())[:2]:
            edit(path)
        volume = read_volume(tmp_path)
        np.testing.assert_array_equal(volume.hu, HU[:8])
        assert volume.acquisition.reading_notes == ()

    @pytest.mark.parametrize("edit", LOSSLESS.values(), ids=LOSSLESS)
    def test_so_is_every_frame_of_an_enhanced_file(self, tmp_path: Path, edit: Edit) -> None:
        write_enhanced(tmp_path / "all.dcm", HU)
        edit(tmp_path / "all.dcm")
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)

    def test_one_folder_may_mix_them(self, tmp_path: Path) -> None:
        write_series(tmp_path, HU)
        for path, edit in zip(sorted(tmp_path.iterdir()), LOSSLESS.values(), strict=False):
            edit(path)
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)


class TestWithLoss:
    def test_near_lossless_is_read_and_said(self, tmp_path: Path) -> None:
        write_series(tmp_path, HU)
        for path in sorted(tmp_path.iterdir()):
            by_dcmtk("dcmcjpls", "+en", "+md", "2")(path)
        volume = read_volume(tmp_path)
        assert np.abs(volume.hu - HU).max() == 2.0
        assert any("compressed with loss" in note for note in volume.acquisition.reading_notes)

    @pytest.mark.parametrize("syntax", [JPEG2000, JPEG2000Lossless], ids=["flag 00", "said to be lossless"])
    def test_a_stream_that_rounds_is_believed_more_than_its_header(self, tmp_path: Path, syntax: pydicom.uid.UID) -> None:
        """A real chest of EI 14.0 compressed 20:1 in this way had 10.5 and was called already smooth."""

        def edit(ds: FileDataset) -> None:
            ds.compress(JPEG2000, j2k_cr=[20])
            ds.file_meta.TransferSyntaxUID = syntax
            for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
                if keyword in ds:
                    delattr(ds, keyword)
            ds.LossyImageCompression = "00"

        write_series(tmp_path, chest_slices(10, 128, 160))
        for path in sorted(tmp_path.iterdir()):
            ds = pydicom.dcmread(path)
            edit(ds)
            ds.save_as(path)
        assert "10 of 10 images were compressed with loss, up to 2" in refusal(tmp_path)

    @pytest.mark.parametrize(("options", "told"), [(("+en", "+md", "2"), True), (("+el",), False)], ids=["2 HU", "none"])
    def test_the_tolerance_of_jpeg_ls_stands_in_its_stream(self, tmp_path: Path, options: tuple[str, ...], told: bool) -> None:
        """Without a flag, the syntax alone tells of a loss that is none; with 00 it hid one."""
        write_series(tmp_path, HU)
        for path in sorted(tmp_path.iterdir()):
            by_dcmtk("dcmcjpls", *options)(path)
            ds = pydicom.dcmread(path)
            for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
                if keyword in ds:
                    delattr(ds, keyword)
            ds.file_meta.TransferSyntaxUID = JPEGLSNearLossless
            if told:
                ds.LossyImageCompression = "00"
            ds.save_as(path)
        notes = read_volume(tmp_path).acquisition.reading_notes
        assert any("compressed with loss" in note for note in notes) is told

    def test_a_stated_ratio_that_the_size_exceeds_is_not_believed(self, tmp_path: Path) -> None:
        write_series(tmp_path, chest_slices(10, 128, 160))
        for path in sorted(tmp_path.iterdir()):
            ds = pydicom.dcmread(path)
            ds.compress(JPEG2000, j2k_cr=[20])
            ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", 2.0
            ds.save_as(path)
        assert "compressed with loss, up to 2" in refusal(tmp_path)

    def test_an_icon_of_jpeg_in_the_header_is_no_stream_of_the_image(self, tmp_path: Path) -> None:
        write_series(tmp_path, HU)
        for path in sorted(tmp_path.iterdir()):
            ds = pydicom.dcmread(path)
            ds.compress(RLELossless)
            ds.add_new(0x00091001, "OB", bytes.fromhex("ffd8ffc0000b080001000101011100ffda0008010100003f00"))
            ds.save_as(path)
        volume = read_volume(tmp_path)
        np.testing.assert_array_equal(volume.hu, HU)
        assert volume.acquisition.reading_notes == ()

    def test_a_strong_one_is_refused_in_a_multi_frame_file_too(self, tmp_path: Path) -> None:
        def strong(ds: FileDataset) -> None:
            ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", 12.0

        write_enhanced(tmp_path / "all.dcm", HU, change=strong)
        assert "up to 12:1" in refusal(tmp_path)


class TestDecoders:
    def test_what_is_missing_is_named_with_how_to_install_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_enhanced(tmp_path / "all.dcm", HU)
        by_pydicom(JPEGLSLossless, "jpeg_ls")(tmp_path / "all.dcm")
        monkeypatch.setattr(dicom_decoding, "_JPEG_LS", ("a decoder that nobody has",))
        message = refusal(tmp_path)
        assert "all.dcm is compressed as JPEG-LS Lossless" in message
        assert "pip install 'ctkernelnormalization[dicom]'" in message

    def test_high_throughput_jpeg_2000_asks_for_its_decoder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_series(tmp_path, HU)
        for path in sorted(tmp_path.iterdir()):
            by_pydicom(JPEG2000Lossless, "openjpeg")(path)
            ds = pydicom.dcmread(path)
            ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"
            ds.save_as(path)
        # OpenJPEG reads either kind of stream, whichever the header names
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)
        monkeypatch.setattr(dicom_decoding, "_importable", lambda *_: set())
        assert "no decoder for that is installed" in refusal(tmp_path)

    def test_no_decoder_is_used_that_is_under_the_gpl(self) -> None:
        others = [".50", ".51", ".57", ".70", ".80", ".81"]
        chosen = {dicom_decoding.decoder_for(UID(f"1.2.840.10008.1.2.4{end}"), "file") for end in others}
        assert chosen <= {"gdcm", "pyjpegls"}

    @pytest.mark.parametrize(
        "edit", [LOSSLESS["JPEG-LS"], LOSSLESS["RLE"], LOSSLESS["JPEG 2000"]], ids=["JPEG-LS", "RLE", "2000"]
    )
    def test_a_cut_multi_frame_file_is_refused(self, tmp_path: Path, edit: Edit) -> None:
        path = tmp_path / "all.dcm"
        write_enhanced(path, HU)
        edit(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * 0.8)])
        assert "all.dcm" in refusal(tmp_path)


class TestEnhanced:
    def test_hounsfield_units_geometry_and_acquisition(self, tmp_path: Path) -> None:
        uid = write_enhanced(tmp_path / "all.dcm", HU)
        volume = read_volume(tmp_path)
        np.testing.assert_array_equal(volume.hu, HU)
        np.testing.assert_allclose(volume.geometry.spacing, (1.25, 0.7, 0.6), atol=1e-6)
        np.testing.assert_allclose(volume.geometry.origin, (-110.0, -95.5, -310.25), atol=1e-6)
        facts = volume.acquisition
        assert (facts.kernel, facts.scanner_model, facts.slice_thickness_mm) == ("B70f", "NAEOTOM Alpha", 1.5)
        assert (facts.tube_voltage_kv, facts.series_instance_uid, facts.body_part) == (120.0, uid, "CHEST")

    def test_one_file_and_several_files_of_a_series_are_one_volume(self, tmp_path: Path) -> None:
        uid = write_enhanced(tmp_path / "b.dcm", HU[:4])
        write_enhanced(tmp_path / "a.dcm", HU[4:], uid=uid, first=4)
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)
        np.testing.assert_array_equal(read_volume(tmp_path / "a.dcm").hu, HU)

    def test_frames_are_ordered_by_position(self, tmp_path: Path) -> None:
        def reverse(ds: FileDataset) -> None:
            ds.PerFrameFunctionalGroupsSequence = Sequence(list(ds.PerFrameFunctionalGroupsSequence)[::-1])

        write_enhanced(tmp_path / "all.dcm", HU[::-1], change=reverse)
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)

    def test_each_frame_has_its_own_rescale(self, tmp_path: Path) -> None:
        def own(ds: FileDataset) -> None:
            del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
            for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
                group.PixelValueTransformationSequence = item(RescaleIntercept=-1024 + k, RescaleSlope=1, RescaleType="HU")

        write_enhanced(tmp_path / "all.dcm", HU, change=own)
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU + np.arange(len(HU))[:, None, None])

    def test_a_conversion_by_highdicom_is_the_series_it_came_from(self, tmp_path: Path) -> None:
        hd = pytest.importorskip("highdicom", reason="highdicom (the extra dicom) is not installed")

        def complete(_: int, ds: FileDataset) -> None:
            ds.StudyID, ds.AccessionNumber, ds.PatientBirthDate, ds.PatientSex = "1", "", "", ""
            ds.StudyDate, ds.StudyTime, ds.ReferringPhysicianName, ds.AcquisitionNumber = "20260101", "101010", "", 1
            ds.BurnedInAnnotation, ds.InstitutionName, ds.BitsStored, ds.HighBit = "NO", "", 12, 11

        write_series(tmp_path / "single", HU, change=complete)
        images = [pydicom.dcmread(path) for path in sorted((tmp_path / "single").iterdir())]
        converted = hd.legacy.LegacyConvertedEnhancedCTImage(images, "1.2.3.4.5", 7, "1.2.3.4.6", 1)
        (tmp_path / "converted").mkdir()
        converted.save_as(tmp_path / "converted" / "all.dcm")
        single, again = read_volume(tmp_path / "single"), read_volume(tmp_path / "converted")
        np.testing.assert_array_equal(again.hu, HU)
        assert again.geometry.matches(single.geometry, 1e-6)
        assert again.acquisition.kernel == "B70f"

    def test_two_kernels_in_one_file_are_not_mixed(self, tmp_path: Path) -> None:
        def two(ds: FileDataset) -> None:
            del ds.SharedFunctionalGroupsSequence[0].CTReconstructionSequence
            for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
                group.CTReconstructionSequence = item(ConvolutionKernel="B70f" if k < 5 else "B30f")

        write_enhanced(tmp_path / "all.dcm", HU, change=two)
        message = refusal(tmp_path)
        assert "2 different kernels" in message
        assert "B70f" in message
        assert "B30f" in message

    def test_two_phases_at_one_place_are_not_mixed(self, tmp_path: Path) -> None:
        uid = write_enhanced(tmp_path / "first.dcm", HU)
        write_enhanced(tmp_path / "second.dcm", HU, uid=uid)
        assert "Doubled slices" in refusal(tmp_path)

    @pytest.mark.parametrize("lost", ["PlanePositionSequence", "FrameContentSequence"])
    def test_a_frame_too_few_in_the_groups_is_refused(self, tmp_path: Path, lost: str) -> None:
        def lose(ds: FileDataset) -> None:
            if lost == "PlanePositionSequence":
                del ds.PerFrameFunctionalGroupsSequence[3][lost]
            else:
                ds.PerFrameFunctionalGroupsSequence = Sequence(list(ds.PerFrameFunctionalGroupsSequence)[:-1])

        write_enhanced(tmp_path / "all.dcm", HU, change=lose)
        expected = "frame 4, states no position" if lost == "PlanePositionSequence" else "states 10 frame(s) and describes 9"
        assert expected in refusal(tmp_path)

    def test_frames_that_are_not_there_are_refused(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "all.dcm", HU, change=lambda ds: setattr(ds, "PixelData", ds.PixelData[:-2560]))
        assert "all.dcm" in refusal(tmp_path)

    def test_a_missing_frame_is_a_missing_slice(self, tmp_path: Path) -> None:
        def leave_out(ds: FileDataset) -> None:
            groups = list(ds.PerFrameFunctionalGroupsSequence)
            ds.PerFrameFunctionalGroupsSequence = Sequence(groups[:4] + groups[5:])
            ds.NumberOfFrames, ds.PixelData = 9, ds.PixelData[:-2560]

        write_enhanced(tmp_path / "all.dcm", HU, change=leave_out)
        assert "Missing slices" in refusal(tmp_path)

    def test_a_multi_frame_file_without_places_is_refused(self, tmp_path: Path) -> None:
        write_series(tmp_path, HU, change=lambda _, ds: setattr(ds, "NumberOfFrames", 10))
        assert "multi-frame and no enhanced CT" in refusal(tmp_path)


class TestDirectory:
    @pytest.fixture
    def disc(self, tmp_path: Path) -> Path:
        """A disc with two series as dcmtk writes it."""
        if shutil.which("dcmmkdir") is None:
            pytest.skip("dcmmkdir (Debian's dcmtk) is not installed")

        def complete(_: int, ds: Dataset) -> None:
            ds.StudyID, ds.StudyDate, ds.StudyTime, ds.PatientID = "1", "20260101", "101010", "PID4711"

        write_series(tmp_path / "IMAGES" / "SHARP", HU, number=3, uid="1.2.3.70", stem="i", change=complete)
        write_series(tmp_path / "IMAGES" / "SOFT", HU + 1, number=4, kernel="B30f", uid="1.2.3.30", stem="i", change=complete)
        for path in sorted(tmp_path.rglob("*.dcm")):
            path.rename(path.with_name(path.stem.upper()))
        command = ["dcmmkdir", "+r", "+id", str(tmp_path), "+D", str(tmp_path / "DICOMDIR"), "-Pgp", "IMAGES"]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
        return tmp_path

    def test_names_the_series_to_choose_from(self, disc: Path) -> None:
        message = refusal(disc / "DICOMDIR")
        assert "number 3, kernel B70f, 10 slices" in message
        assert "number 4, kernel B30f, 10 slices" in message
        np.testing.assert_array_equal(read_volume(disc / "DICOMDIR", "B30f").hu, HU + 1)

    def test_only_what_it_lists_is_read(self, disc: Path) -> None:
        write_series(disc / "OTHER", HU, number=9, uid="1.2.3.99")
        assert set(find_series(disc)) == {"1.2.3.70", "1.2.3.30", "1.2.3.99"}
        assert "UID 1.2.3.99" not in refusal(disc / "DICOMDIR")

    def test_names_in_small_letters_are_found(self, disc: Path) -> None:
        (disc / "IMAGES" / "SHARP").rename(disc / "IMAGES" / "sharp")
        for path in (disc / "IMAGES" / "sharp").iterdir():
            path.rename(path.with_name(path.name.lower()))
        (disc / "IMAGES" / "SOFT").rename(disc / "IMAGES" / "soft")
        (disc / "IMAGES").rename(disc / "images")
        np.testing.assert_array_equal(read_volume(disc / "DICOMDIR", "3").hu, HU)

    @pytest.mark.parametrize("by", ["DICOMDIR", "."])
    def test_a_file_that_it_lists_and_that_is_gone_is_a_missing_slice(self, disc: Path, by: str) -> None:
        (disc / "IMAGES" / "SHARP" / "I0009").unlink()  # the last slice: no gap between the others tells of it
        message = refusal(disc / by, "B70f")
        assert "I0009" in message
        assert "not there" in message
        np.testing.assert_array_equal(read_volume(disc / by, "B30f").hu, HU + 1)

    def test_a_list_of_files_elsewhere_is_refused(self, disc: Path) -> None:
        content = (disc / "DICOMDIR").read_bytes()
        assert b"IMAGES\\SHARP" in content
        (disc / "DICOMDIR").write_bytes(content.replace(b"IMAGES\\SHARP", b"..\\IMAGESHRP"))  # as long: the links still hold
        assert "outside its own folder" in refusal(disc / "DICOMDIR")

    def test_a_damaged_one_is_refused_and_the_folder_still_read(self, disc: Path) -> None:
        content = (disc / "DICOMDIR").read_bytes()
        (disc / "DICOMDIR").write_bytes(content[: len(content) // 2])
        assert "DICOMDIR" in refusal(disc / "DICOMDIR")
        np.testing.assert_array_equal(read_volume(disc, "B70f").hu, HU)


def test_series_in_nested_folders_are_found_and_left_to_the_user(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "b" / "c", HU, number=3, kernel="B70f")
    write_series(tmp_path / "a" / "d", HU + 1, number=4, kernel="B30f")
    write_enhanced(tmp_path / "e" / "all.dcm", HU + 2, kernel="Br40f")
    message = refusal(tmp_path)
    assert "3 series" in message
    np.testing.assert_array_equal(read_volume(tmp_path, "Br40f").hu, HU + 2)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_compressed_slices_in_a_folder_that_is_no_utf8_are_read(tmp_path: Path) -> None:
    """The library that unpacks JPEG 2000 ended the whole program on such a name."""
    folder = tmp_path / os.fsdecode(b"\xe4\xff")
    folder.mkdir()
    write_series(folder, HU)
    for path in sorted(folder.iterdir()):
        by_pydicom(JPEG2000Lossless, "openjpeg")(path)
    np.testing.assert_array_equal(read_volume(folder).hu, HU)
