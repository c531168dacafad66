"""Files of a series that contradict themselves or each other, and files beside it that are no files of it."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.dicomseries import chest_slices
from core.enhancedct import write_enhanced
from core.refusals import refusal
from core.test_nothing_wrong_in_silence import HU, only, series
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from KernelNormalizationLib.core.io.reading import read_volume

MR, CAPTURE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"


class TestBits:
    @pytest.mark.parametrize(("bits", "high"), [(12, 15), (12, 3), (16, 11), (17, 16), (0, 15), (0, None)])
    def test_that_do_not_fit_together_are_named(self, tmp_path: Path, bits: int, high: int | None) -> None:
        """A high bit of 15 of 12 bits once moved the values of a chest by 3836 HU."""

        def change(ds: pydicom.FileDataset) -> None:
            ds.BitsStored, ds.HighBit = bits, high

        message = refusal(series(tmp_path, only(4, change)))
        stated = f"BitsAllocated (0028,0100) = “16”, BitsStored (0028,0101) = “{bits}” and HighBit (0028,0102)"
        assert message.startswith(f"image0004.dcm states {stated}")
        assert "do not fit together" in message


class TestKindOfImage:
    @pytest.mark.parametrize(("kind", "name"), [(MR, "MR Image Storage"), (CAPTURE, "Secondary Capture Image Storage")])
    def test_another_one_in_some_files_is_named(self, tmp_path: Path, kind: str, name: str) -> None:
        message = refusal(series(tmp_path, only(4, lambda ds: setattr(ds, "SOPClassUID", kind))))
        assert "2 different kinds of image (SOPClassUID): “CT Image Storage” in 9 image(s) from “image0000.dcm”" in message
        assert f"“{name}” in 1 image(s) from “image0004.dcm”" in message

    def test_of_another_modality_in_all_contradicts_ct(self, tmp_path: Path) -> None:
        message = refusal(series(tmp_path, lambda _, ds: setattr(ds, "SOPClassUID", MR)))
        assert message.startswith("image0000.dcm has the modality CT and is stored as “MR Image Storage” (SOPClassUID)")

    @pytest.mark.parametrize("kind", [CAPTURE, f"{CAPTURE}.3", "1.2.276.0.7230010.3.1.0.99"])
    def test_what_a_converter_stored_is_read(self, tmp_path: Path, kind: str) -> None:
        np.testing.assert_array_equal(read_volume(series(tmp_path, lambda _, ds: setattr(ds, "SOPClassUID", kind))).hu, HU)


class TestImagesInAFile:
    @pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
    @pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
    def test_more_than_stated_are_refused(self, tmp_path: Path, syntax: pydicom.uid.UID, listed: bool) -> None:
        hu = chest_slices(10, 32, 40)
        folder = series(tmp_path, hu=hu)
        path = folder / "image0004.dcm"
        ds = pydicom.dcmread(path)
        ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(path)
        np.testing.assert_array_equal(read_volume(folder).hu, hu)
        ds.PixelData = encapsulate([*generate_frames(ds.PixelData, number_of_frames=1)] * 2, has_bot=listed)
        ds.save_as(path)
        assert refusal(folder) == "image0004.dcm states one image and holds 2; export the series again."

    def test_nor_more_frames_of_an_enhanced_file(self, tmp_path: Path) -> None:
        path = tmp_path / "all.dcm"
        write_enhanced(path, HU)
        ds = pydicom.dcmread(path)
        ds.compress(RLELossless, generate_instance_uid=False)
        frames = [*generate_frames(ds.PixelData, number_of_frames=len(HU))]
        ds.PixelData = encapsulate([*frames, frames[-1]])
        ds.save_as(path)
        assert refusal(tmp_path) == "all.dcm states 10 images and holds 11; export the series again."


class TestBesideTheFiles:
    @pytest.mark.parametrize("which", [0, 5, 9])
    @pytest.mark.parametrize("kind", ["pipe", "socket"])
    def test_a_pipe_named_like_a_slice_stands_for_a_lost_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, which: int
    ) -> None:
        folder = series(tmp_path)
        (folder / f"image000{which}.dcm").unlink()
        monkeypatch.chdir(folder)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as made:
            os.mkfifo(f"image000{which}.dcm") if kind == "pipe" else made.bind(f"image000{which}.dcm")
        assert refusal(folder).startswith(f"“image000{which}.dcm” is named like the others and is no DICOM file")

    def test_a_pipe_of_another_name_is_passed_over(self, tmp_path: Path) -> None:
        folder = series(tmp_path)
        os.mkfifo(folder / "pipe")
        np.testing.assert_array_equal(read_volume(folder).hu, HU)

    def test_exact_copies_are_left_out_and_told(self, tmp_path: Path) -> None:
        folder = series(tmp_path)
        for name in ("image0004 (1).dcm", "image0000 (1).dcm"):
            shutil.copy(folder / name.replace(" (1)", ""), folder / name)
        volume = read_volume(folder)
        np.testing.assert_array_equal(volume.hu, HU)
        note = "2 file(s) that equal another one, such as “image0000 (1).dcm”, were left out."
        assert volume.acquisition.reading_notes == (note,)

    def test_a_copy_of_an_enhanced_file_too(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "all.dcm", HU)
        shutil.copy(tmp_path / "all.dcm", tmp_path / "all copy.dcm")
        volume = read_volume(tmp_path)
        np.testing.assert_array_equal(volume.hu, HU)
        assert volume.acquisition.reading_notes[0].startswith("1 file(s) that equal another one, such as “all copy.dcm”")

    def test_the_same_image_with_other_bytes_is_doubled(self, tmp_path: Path) -> None:
        folder = series(tmp_path)
        ds = pydicom.dcmread(folder / "image0004.dcm")
        ds.PixelData = bytes([ds.PixelData[0] ^ 1]) + ds.PixelData[1:]
        ds.save_as(folder / "image0004 (1).dcm")
        assert refusal(folder).startswith("Doubled slices at -305.25 mm")
