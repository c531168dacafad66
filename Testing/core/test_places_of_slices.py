"""What a header says of the slices' places beside their positions, and what is said where it contradicts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.enhancedct import item, write_enhanced
from core.refusals import refusal
from core.test_nothing_wrong_in_silence import HU, series
from pydicom.uid import generate_uid

from KernelNormalizationLib.core.io.reading import read_volume

WIDE_MM = 0.6 * HU.shape[2]  # the longer side of the images: 16 columns of 0.6 mm


def with_tags(folder: Path, **values: object) -> tuple[str, ...]:
    """Notes on a series whose images all have these values; its voxels are read unchanged."""

    def change(_: int, ds: pydicom.FileDataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    volume = read_volume(series(folder, change))
    np.testing.assert_array_equal(volume.hu, HU)
    return volume.acquisition.reading_notes


@pytest.mark.parametrize(("tilt", "larger"), [(15, "3.5 %"), (-20.5, "6.8 %")])
def test_a_tilt_that_the_places_do_not_show_is_told_with_what_it_means(tmp_path: Path, tilt: float, larger: str) -> None:
    (note,) = with_tags(tmp_path, GantryDetectorTilt=tilt)
    assert f"gantry tilt of {abs(tilt):g} degrees" in note
    assert f"volumes are then {larger} too large" in note


def test_a_field_of_view_that_the_pixels_do_not_fill_is_told(tmp_path: Path) -> None:
    (note,) = with_tags(tmp_path, ReconstructionDiameter=round(2 * WIDE_MM, 3))
    assert f"reconstruction diameter of {2 * WIDE_MM:g} mm" in note
    assert "the true volumes are 4 times those given" in note


@pytest.mark.parametrize(
    "values", [{"GantryDetectorTilt": 0}, {"GantryDetectorTilt": -0.4}, {"ReconstructionDiameter": WIDE_MM}]
)
def test_what_agrees_needs_no_word(tmp_path: Path, values: dict[str, object]) -> None:
    assert with_tags(tmp_path, **values) == ()


def test_frames_state_tilt_and_diameter_in_groups_of_their_own(tmp_path: Path) -> None:
    def change(ds: pydicom.FileDataset) -> None:
        shared = ds.SharedFunctionalGroupsSequence[0]
        shared.CTReconstructionSequence = item(ConvolutionKernel="B70f", ReconstructionDiameter=100.0)
        shared.CTAcquisitionDetailsSequence = item(GantryDetectorTilt=10.0)

    write_enhanced(tmp_path / "enhanced.dcm", HU, change=change)
    tilt, diameter = read_volume(tmp_path).acquisition.reading_notes
    assert "gantry tilt of 10 degrees" in tilt
    assert "reconstruction diameter of 100 mm" in diameter


def test_one_place_for_all_is_no_reason_to_delete_images(tmp_path: Path) -> None:
    """ "Keep one image for each position" would have left a single one."""
    message = refusal(series(tmp_path, lambda _, ds: setattr(ds, "ImagePositionPatient", [0, 0, 0])))
    assert message.startswith(f"All {len(HU)} images state the same position, 0.00 mm along the slice axis")
    assert "keep" not in message


@pytest.mark.parametrize(
    ("keyword", "one", "other", "shown"),
    [
        ("AcquisitionNumber", 1, 2, "1 in 10 image(s) from “image0000.dcm”; 2 in 10 image(s) from “phase0000.dcm”"),
        ("NominalPercentageOfCardiacPhase", 40.0, 75.0, "40 in 10 image(s)"),
        ("TriggerTime", None, 300, "none in 10 image(s)"),
        ("TemporalPositionIdentifier", 1, 2, "1 in 10 image(s)"),
    ],
)
def test_phases_at_the_same_places_are_told_apart(tmp_path: Path, keyword: str, one: object, other: object, shown: str) -> None:
    folder = series(tmp_path, lambda _, ds: None if one is None else setattr(ds, keyword, one))
    for path in sorted(folder.iterdir()):
        ds = pydicom.dcmread(path)
        setattr(ds, keyword, other)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(folder / path.name.replace("image", "phase"))
    message = refusal(folder)
    assert f"the images there differ in {keyword} ({shown}" in message
    assert "keep one image" not in message


def test_acquisitions_slice_by_slice_are_no_joined_ones(tmp_path: Path) -> None:
    volume = read_volume(series(tmp_path / "in turn", lambda k, ds: setattr(ds, "AcquisitionNumber", 1 + k % 2)))
    (note,) = volume.acquisition.reading_notes
    assert "The slices of 2 acquisitions (numbers 1, 2) alternate" in note
    volume = read_volume(series(tmp_path / "two", lambda k, ds: setattr(ds, "AcquisitionNumber", 1 + k // 5)))
    (note,) = volume.acquisition.reading_notes
    assert "The series joins 2 acquisitions (numbers 1, 2)" in note


def test_names_that_programs_write_differently_are_one_patient(tmp_path: Path) -> None:
    names = ("Doe^Jane", "DOE^JANE^^", "doe^jane")
    np.testing.assert_array_equal(read_volume(series(tmp_path, lambda k, ds: setattr(ds, "PatientName", names[k % 3]))).hu, HU)
    assert "2 different patients" in refusal(
        series(tmp_path / "two", lambda k, ds: setattr(ds, "PatientName", ("Doe^Jane", "Doe^Jan")[k % 2]))
    )


def test_hounsfield_units_may_be_written_out(tmp_path: Path) -> None:
    assert with_tags(tmp_path, RescaleType="Hounsfield Units") == ()


def test_pixels_in_floating_point_are_not_called_cut_off(tmp_path: Path) -> None:
    def change(k: int, ds: pydicom.FileDataset) -> None:
        ds.FloatPixelData = HU[k].astype("<f4").tobytes()
        ds.BitsAllocated = ds.BitsStored = 32
        ds.HighBit = 31
        del ds.PixelData

    message = refusal(series(tmp_path, change))
    assert message.startswith("image0000.dcm holds its pixels as floating-point numbers")


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"SpacingBetweenSlices": 0.625}, "1.25 mm apart, by SpacingBetweenSlices 0.62 mm"),
        ({"SpacingBetweenSlices": -2.5}, "by SpacingBetweenSlices the volumes would be 2 times those given"),
    ],
)
def test_another_distance_of_slices_in_the_header_is_told(tmp_path: Path, tags: dict[str, object], told: str) -> None:
    (note,) = with_tags(tmp_path, **tags)
    assert told in note


@pytest.mark.parametrize("sign", [1, -1])
def test_so_is_another_one_by_the_locations_of_the_slices(tmp_path: Path, sign: int) -> None:
    for name, step in (("same", 1.25), ("other", 2.5)):
        folder = series(tmp_path / name, lambda k, ds, step=step: setattr(ds, "SliceLocation", sign * step * k))  # type: ignore[misc]
        notes = read_volume(folder).acquisition.reading_notes
        assert [note for note in notes if "by SliceLocation 2.50 mm" in note] == list(notes)
        assert len(notes) == (name == "other")


@pytest.mark.parametrize("tags", [{"SpacingBetweenSlices": -1.25}, {"SpacingBetweenSlices": 0}, {"SliceLocation": 0}])
def test_the_same_distance_or_none_needs_no_word(tmp_path: Path, tags: dict[str, object]) -> None:
    assert with_tags(tmp_path, **tags) == ()


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (("20200131", "101010"), ("20200131", "143010.5"), "within 260 minutes"),
        (("20200131", "101010"), ("20200203", "101010"), "within 4320 minutes"),
        (("20200131", "235959"), ("20200201", "000011"), None),
        (("20200131", "101010"), ("20200131", "102000"), None),
        (("", "101010"), ("20200131", "101020"), None),
        (("20200231", "101010"), ("REMOVED", "101020"), None),
    ],
)
def test_slices_of_two_sessions_are_told(
    tmp_path: Path, first: tuple[str, str], last: tuple[str, str], told: str | None
) -> None:
    def change(k: int, ds: pydicom.FileDataset) -> None:
        for keyword, text in zip(("AcquisitionDate", "AcquisitionTime"), last if k > 5 else first, strict=True):
            tag, content = pydicom.tag.Tag(keyword), text.encode() + b" " * (len(text) % 2)
            ds[tag] = pydicom.dataelem.RawDataElement(
                tag, pydicom.datadict.dictionary_VR(tag), len(content), content, 0, False, True
            )

    notes = read_volume(series(tmp_path, change)).acquisition.reading_notes
    assert [told in note for note in notes if told] == [True] * (told is not None)
    assert len(notes) == (told is not None)


@pytest.mark.parametrize(
    ("keyword", "values", "what"),
    [("SeriesNumber", (3, 4), "series numbers"), ("PatientBirthDate", ("19500101", "19620203"), "patients")],
)
def test_two_series_or_patients_that_an_anonymizer_gave_one_uid_are_refused(
    tmp_path: Path, keyword: str, values: tuple[object, object], what: str
) -> None:
    message = refusal(series(tmp_path, lambda k, ds: setattr(ds, keyword, values[k // 5])))
    assert f"have 2 different {what}" in message
    assert "1950" not in message


def test_two_rescales_in_halves_are_told(tmp_path: Path) -> None:
    """Half of a chest of EI 14.0 raised by 24 HU gave 11.5."""
    folder = series(tmp_path, lambda k, ds: setattr(ds, "RescaleIntercept", "-1000" if k > 4 else "-1024"))
    (note,) = read_volume(folder).acquisition.reading_notes
    assert "The slices state 2 rescales (slope 1 and intercept -1024 in 5 from “image0000.dcm”; slope 1 and intercept" in note
