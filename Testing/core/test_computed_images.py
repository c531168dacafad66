"""Images that a header says were computed: maps are refused, virtual and averaged ones noted, pictures left aside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.enhancedct import item, write_enhanced
from core.refusals import refusal
from core.test_nothing_wrong_in_silence import HU, series

from KernelNormalizationLib.core.io.reading import read_volume

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PLACES = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")


def computed(folder: Path, kind: str, words: str = "") -> Path:
    def change(_: int, ds: pydicom.FileDataset) -> None:
        ds.ImageType, ds.SeriesDescription, ds.RescaleType = ["DERIVED", "PRIMARY", "AXIAL", kind], words, "HU"

    return series(folder, change)


@pytest.mark.parametrize(
    "kind",
    ["ELECTRON_DENSITY", "EFF_ATOMIC_NUM", "MAT_SPECIFIC", "MAT_FRACTIONAL", "MAT_VALUE_BASED", "RHO", "Z_EFF", "SUBTRACTION"],
)
def test_a_map_that_states_hu_is_refused_by_its_image_type(tmp_path: Path, kind: str) -> None:
    message = refusal(computed(tmp_path, kind))
    assert message.startswith(f"image0000.dcm states the image type “DERIVED PRIMARY AXIAL {kind}”: its values are not HU")


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("VMI", "", "By the image type “DERIVED PRIMARY AXIAL VMI” the images are virtual ones"),
        ("MAT_REMOVED", "", "the images are virtual ones"),
        ("OTHER", "Meier MonoE 40keV", "By “MONO"),
        ("AVERAGE", "", "By the image type “DERIVED PRIMARY AXIAL AVERAGE” the images are means of slices"),
        ("MPR", "", "the images are means of slices or were cut out of a volume"),
        ("OTHER", "Meier Iodine (Water)", "The description of the computed images names “IODINE”"),
    ],
)
def test_virtual_and_averaged_images_are_read_and_told(tmp_path: Path, kind: str, words: str, told: str) -> None:
    volume = read_volume(computed(tmp_path, kind, words))
    np.testing.assert_array_equal(volume.hu, HU)
    (note,) = volume.acquisition.reading_notes
    assert told in note
    assert "MEIER" not in note.upper()


@pytest.mark.parametrize("words", ["MonoE 40keV[HU]", "GSI mono 50 keV", "VNC thorax"])
def test_virtual_images_that_are_called_original_are_told(tmp_path: Path, words: str) -> None:
    (note,) = read_volume(series(tmp_path, lambda _, ds: setattr(ds, "SeriesDescription", words))).acquisition.reading_notes
    assert "in its description the images are virtual ones" in note


@pytest.mark.parametrize(
    ("keyword", "value", "agent"),
    [
        ("ContrastBolusAgent", "Iohexol", "Iohexol"),
        ("ContrastBolusIngredient", "IODINE", "IODINE"),
        ("ContrastBolusVolume", 80, "given, not named"),
        ("ContrastBolusVolume", 0, None),
        ("ContrastBolusAgentSequence", item(CodeValue="109088"), "given, not named"),
    ],
)
def test_contrast_that_is_not_named_is_contrast(tmp_path: Path, keyword: str, value: object, agent: str | None) -> None:
    assert read_volume(series(tmp_path, lambda _, ds: setattr(ds, keyword, value))).acquisition.contrast_agent == agent


def test_a_long_image_type_is_shown_with_what_decides(tmp_path: Path) -> None:
    kind = ["DERIVED", "PRIMARY", "AXIAL", "CT_SOM7 SPI DUAL", "DE_IODINE"]
    assert "DE_IODINE" in refusal(series(tmp_path, lambda _, ds: setattr(ds, "ImageType", kind)))


@pytest.mark.parametrize(
    "kind", [["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], ["ORIGINAL", "PRIMARY", "AXIAL", "HELIX"], ["DERIVED", "PRIMARY"]]
)
def test_nothing_is_told_of_a_scanners_own_slices(tmp_path: Path, kind: list[str]) -> None:
    def change(_: int, ds: pydicom.FileDataset) -> None:
        ds.ImageType, ds.SeriesDescription = kind, "Thorax nativ 1.0 B70f"

    assert read_volume(series(tmp_path, change)).acquisition.reading_notes == ()


@pytest.mark.parametrize(
    ("frame_type", "technique", "told"),
    [
        (["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"], "MAX_IP", "a projection through many slices"),
        (["DERIVED", "PRIMARY", "VOLUME", "NONE"], "MIN_IP", "a projection through many slices"),
        (["DERIVED", "PRIMARY", "VOLUME", "ELECTRON_DENSITY"], "NONE", "its values are not HU"),
    ],
)
def test_frames_that_are_no_slices_are_refused(tmp_path: Path, frame_type: list[str], technique: str, told: str) -> None:
    """The file's own type is often MIXED or a copy of its source's; each frame has its own."""

    def change(ds: pydicom.FileDataset) -> None:
        kind = item(FrameType=frame_type, VolumeBasedCalculationTechnique=technique)
        ds.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence = kind

    write_enhanced(tmp_path / "enhanced.dcm", HU, change=change)
    message = refusal(tmp_path)
    assert message.startswith("enhanced.dcm, frame 1, states")
    assert told in message


def picture(folder: Path, uid: str | None, **values: object) -> None:
    """A dose sheet beside the slices, in their own series or in one of its own."""
    ds = pydicom.dcmread(next(folder.iterdir()))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CAPTURE
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    if uid is not None:
        ds.SeriesInstanceUID = uid
    for keyword in PLACES:
        delattr(ds, keyword)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(folder / "sheet.dcm")


@pytest.mark.parametrize("kind", [["DERIVED", "SECONDARY", "SCREEN SAVE"], ["DERIVED", "SECONDARY"]], ids=str)
def test_a_dose_sheet_of_modality_ct_leaves_nothing_to_choose(tmp_path: Path, kind: list[str]) -> None:
    folder = series(tmp_path, lambda _, ds: None)
    picture(folder, "1.2.3.999", ImageType=kind)
    np.testing.assert_array_equal(read_volume(folder).hu, HU)


@pytest.mark.parametrize("samples", [1, 3])
def test_a_picture_under_the_series_uid_is_named_and_to_be_moved(tmp_path: Path, samples: int) -> None:
    folder = series(tmp_path, lambda _, ds: None)
    picture(folder, None, ImageType=["DERIVED", "SECONDARY"], SamplesPerPixel=samples)
    message = refusal(folder)
    assert message.startswith("sheet.dcm is no slice of a scan but a picture")
    assert "move it out of the folder" in message
