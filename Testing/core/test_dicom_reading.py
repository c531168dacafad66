"""DICOM folders as they come: which are read, exactly how, and which are refused with what advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from core.dicomseries import AXIAL, chest_slices, write_series
from core.refusals import refusal
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import FileDataset

from KernelNormalizationLib.core.io.dicom_series import read_header
from KernelNormalizationLib.core.io.reading import read_volume

Change = Callable[[int, FileDataset], None]
HU = chest_slices()
# Slices from sagittal and tilted-head reformats: rows and columns along other axes, one of them oblique.
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)
FEET_FIRST = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def setting(**values: object) -> Change:
    """A change that sets the same header fields in every file."""

    def change(_: int, ds: FileDataset) -> None:
        for name, value in values.items():
            setattr(ds, name, value)

    return change


def leaving_out(*names: str) -> Change:
    def change(_: int, ds: FileDataset) -> None:
        for name in names:
            delattr(ds, name)

    return change


def lps_of(volume, k: int, j: int, i: int) -> np.ndarray:
    return (volume.geometry.ijk_to_lps @ [i, j, k, 1.0])[:3]


def test_reads_hounsfield_units_geometry_and_acquisition_but_no_patient(tmp_path: Path) -> None:
    uid = write_series(tmp_path, HU)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, HU)
    assert volume.hu.dtype == np.float32
    np.testing.assert_allclose(volume.geometry.spacing, (1.25, 0.7, 0.6), atol=1e-6)
    np.testing.assert_allclose(volume.geometry.origin, (-110.0, -95.5, -310.25), atol=1e-6)
    facts = volume.acquisition
    assert (facts.kernel, facts.manufacturer, facts.scanner_model) == ("B70f", "SIEMENS", "Sensation 16")
    assert (facts.slice_thickness_mm, facts.tube_voltage_kv, facts.body_part) == (1.5, 120.0, "CHEST")
    assert facts.series_instance_uid == uid
    assert volume.padding_value is None
    assert not volume.synthetic
    assert "Doe" not in repr(volume)
    assert "PID4711" not in repr(volume)


def test_slices_are_ordered_by_position_whatever_order_they_are_stored_in(tmp_path: Path) -> None:
    write_series(tmp_path, HU, order=np.random.default_rng(2).permutation(len(HU)))
    np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)


@pytest.mark.parametrize(
    "orientation", [AXIAL, SAGITTAL, OBLIQUE, FEET_FIRST], ids=["axial", "sagittal", "oblique", "feet first"]
)
@pytest.mark.parametrize("step", [1.25, -1.25], ids=["upwards", "downwards"])
def test_every_voxel_lies_where_its_file_says(tmp_path: Path, orientation: tuple[float, ...], step: float) -> None:
    start = np.array((-110.0, -95.5, -310.25))
    write_series(tmp_path, HU, orientation=orientation, step=step, start=tuple(start))
    volume = read_volume(tmp_path)
    row, column = np.reshape(orientation, (2, 3))
    found = {tuple(np.round(lps_of(volume, k, 0, 0), 4)): k for k in range(len(HU))}
    for k, image in enumerate(HU):
        place = start + k * step * np.cross(row, column)
        stored = found[tuple(np.round(place, 4))]
        np.testing.assert_array_equal(volume.hu[stored], image)
        corner = place + 11 * 0.7 * column + 15 * 0.6 * row
        np.testing.assert_allclose(lps_of(volume, stored, 11, 15), corner, atol=1e-6)


def test_one_file_stands_for_its_series(tmp_path: Path) -> None:
    write_series(tmp_path, HU, number=3, stem="a")
    write_series(tmp_path, HU + 1, number=4, stem="b")
    np.testing.assert_array_equal(read_volume(tmp_path / "b0002.dcm").hu, HU + 1)


def test_one_file_without_a_series_uid_stands_for_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=setting(SeriesInstanceUID=""))
    np.testing.assert_array_equal(read_volume(tmp_path / "image0002.dcm").hu, HU)


def test_files_that_are_not_dicom_are_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path / "images", HU)
    (tmp_path / "report.txt").write_text("No finding.")
    (tmp_path / "empty").touch()
    (tmp_path / "images" / ".DS_Store").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "images" / "thumb.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(300))
    np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)


@pytest.mark.slow
@given(st.binary(max_size=400))
def test_no_content_behind_a_dicom_preamble_breaks_the_search(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "file"
    path.write_bytes(bytes(128) + b"DICM" + content)
    header = read_header(path)
    assert header is None or "PixelData" not in header


def test_rescale_is_applied_to_each_slice_with_its_own_intercept(tmp_path: Path) -> None:
    def other_intercept(k: int, ds: FileDataset) -> None:
        ds.RescaleIntercept = -1024 if k < 5 else -1000

    write_series(tmp_path, HU, change=other_intercept)
    expected = HU + np.where(np.arange(len(HU)) < 5, 0, 24)[:, None, None]
    np.testing.assert_array_equal(read_volume(tmp_path).hu, expected)


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_a_declared_padding_value_is_understood_even_on_few_voxels(tmp_path: Path, implicit: bool) -> None:
    hu = chest_slices(rows=100, columns=110)
    hu[:, -1, -1] = -2048  # ten voxels, fewer than any search could call padding
    change = setting(PixelPaddingValue=-2048)
    write_series(tmp_path, hu, signed=True, intercept=0, implicit=implicit, change=change)
    volume = read_volume(tmp_path)
    assert volume.padding_value == -2048.0
    assert int(volume.padding_mask.sum()) == len(hu)


class TestSeveralSeries:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_series(tmp_path / "sharp", HU, number=3, kernel="B70f", uid="1.2.3.4.70")
        write_series(tmp_path / "soft", HU[:9] + 1, number=4, kernel="B30f", uid="1.2.3.4.30")
        return tmp_path

    def test_are_listed_with_all_that_is_needed_to_choose(self, folder: Path) -> None:
        message = refusal(folder)
        assert "2 series" in message
        assert "--series" in message
        assert "number 3, kernel B70f, 10 slices, modality CT, UID 1.2.3.4.70" in message
        assert "number 4, kernel B30f, 9 slices, modality CT, UID 1.2.3.4.30" in message

    @pytest.mark.parametrize("wanted", ["4", "B30f", "1.2.3.4.30"])
    def test_one_is_picked_by_number_kernel_or_uid(self, folder: Path, wanted: str) -> None:
        np.testing.assert_array_equal(read_volume(folder, wanted).hu, HU[:9] + 1)

    def test_a_choice_that_fits_none_is_named(self, folder: Path) -> None:
        message = refusal(folder, "B80f")
        assert "--series B80f fits 0" in message
        assert "B70f" in message

    def test_a_choice_that_fits_two_is_ambiguous(self, folder: Path) -> None:
        write_series(folder / "again", HU, number=5, kernel="B30f")
        assert "--series B30f fits 2" in refusal(folder, "B30f")


class TestRefusals:
    """Each message holds the offending value and what to do."""

    def refused(self, folder: Path, *parts: str, hu: np.ndarray = HU, **how: object) -> None:
        write_series(folder, hu, **how)  # type: ignore[arg-type]
        message = refusal(folder)
        for part in parts:
            assert part in message

    def test_a_folder_without_any_image(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("nothing here")
        assert "No DICOM image" in refusal(tmp_path)
        assert str(tmp_path) in refusal(tmp_path)

    def test_fewer_than_eight_slices(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "7 slice(s)", "at least 8", "whole chest series", hu=HU[:7])

    @pytest.mark.parametrize("modality", ["MR", "PT"])
    def test_another_modality(self, tmp_path: Path, modality: str) -> None:
        self.refused(tmp_path, f"modality is {modality}", "only CT", change=setting(Modality=modality))

    @pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept"])
    def test_no_rescale(self, tmp_path: Path, name: str) -> None:
        self.refused(tmp_path, "image0000.dcm", "no rescale", "not HU", change=leaving_out(name))

    def test_a_rescale_slope_of_zero(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "makes all voxels equal", change=setting(RescaleSlope=0))

    @pytest.mark.parametrize("stated", [0x2002, 0x7FFFFFFF, 0xFFFFFFFE])
    def test_pixels_longer_than_their_file(self, tmp_path: Path, stated: int) -> None:
        write_series(tmp_path, HU)
        path = tmp_path / "image0003.dcm"
        content = path.read_bytes()
        before, _, after = content.rpartition(b"\xe0\x7f\x10\x00")
        length_at = 4 if after[:2] not in (b"OW", b"OB") else 0
        place = 0 if length_at else 4
        path.write_bytes(before + b"\xe0\x7f\x10\x00" + after[:place] + stated.to_bytes(4, "little") + after[place + 4 :])
        message = refusal(tmp_path)
        assert "image0003.dcm" in message
        assert "cut off" in message

    @pytest.mark.parametrize("first", [True, False])
    def test_an_element_that_stands_twice(self, tmp_path: Path, first: bool) -> None:
        write_series(tmp_path, HU)
        path = tmp_path / "image0003.dcm"
        content = path.read_bytes()
        at = content.index(b"\x28\x00\x52\x10")
        end = content.index(b"\x28\x00\x53\x10")
        element = content[at:end]
        other = element[:-2] + b"11" if first else element
        path.write_bytes(content[:at] + other + content[at:])
        message = refusal(tmp_path)
        assert "image0003.dcm" in message
        assert "states RescaleIntercept (0028,1052) twice" in message

    def test_colour(self, tmp_path: Path) -> None:
        def colour(_: int, ds: FileDataset) -> None:
            ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
            ds.PixelData = ds.PixelData * 3

        self.refused(tmp_path, "3 colour channels", change=colour)

    def test_an_enhanced_multi_frame_file(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "multi-frame", "single-frame", change=setting(NumberOfFrames=10))

    def test_missing_slices_with_their_positions(self, tmp_path: Path) -> None:
        def two_gaps(k: int, ds: FileDataset) -> None:
            ds.ImagePositionPatient = [0.0, 0.0, 1.25 * (k + (k > 3) + 2 * (k > 6))]

        # after slices 3 (3.75 mm) and 6 (8.75 mm) the next expected ones are absent
        self.refused(tmp_path, "Missing slices", "5.00", "10.00", "1.25 mm", change=two_gaps)

    def test_doubled_slices_with_their_positions(self, tmp_path: Path) -> None:
        one = setting(StudyInstanceUID="1.2", FrameOfReferenceUID="1.3")
        write_series(tmp_path, HU, uid="1.2.3", start=(0.0, 0.0, 0.0), change=one)
        write_series(tmp_path / "copy", HU[4:6], uid="1.2.3", start=(0.0, 0.0, 5.0), change=one)
        message = refusal(tmp_path)
        assert "Doubled slices at 5.00, 6.25 mm" in message
        assert "keep one image for each position" in message

    def test_uneven_slice_distances(self, tmp_path: Path) -> None:
        def crowded(k: int, ds: FileDataset) -> None:
            ds.ImagePositionPatient = [0.0, 0.0, 1.25 * k - (0.4 if k >= 5 else 0.0)]

        self.refused(tmp_path, "0.85 to 1.25 mm", "choose an even one; resampling", change=crowded)

    def test_positions_rounded_to_a_tenth_are_even(self, tmp_path: Path) -> None:
        def rounded(k: int, ds: FileDataset) -> None:
            ds.ImagePositionPatient = [0.0, 0.0, round(0.75 * k, 1)]

        write_series(tmp_path, HU, change=rounded)
        # ten rounded positions span 6.8 mm
        assert read_volume(tmp_path).geometry.spacing[0] == pytest.approx(0.75, abs=0.01)

    @pytest.mark.parametrize("spacing", [[0, 0], [0.7, 0], [-0.7, 0.7]])
    def test_a_pixel_spacing_that_is_not_positive(self, tmp_path: Path, spacing: list[float]) -> None:
        self.refused(tmp_path, str([float(s) for s in spacing]), "positive", change=setting(PixelSpacing=spacing))

    def test_no_pixel_spacing(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "no pixel spacing", "Export", change=leaving_out("PixelSpacing"))

    def test_mixed_pixel_spacing(self, tmp_path: Path) -> None:
        def mixed(k: int, ds: FileDataset) -> None:
            ds.PixelSpacing = [0.7, 0.7] if k < 5 else [0.9, 0.9]

        self.refused(tmp_path, "image0005.dcm", "[0.9, 0.9]", "[0.7, 0.7]", change=mixed)

    def test_mixed_sizes(self, tmp_path: Path) -> None:
        def cropped(k: int, ds: FileDataset) -> None:
            if k == 6:
                ds.Rows, ds.PixelData = 6, ds.PixelData[: len(ds.PixelData) // 2]

        self.refused(tmp_path, "image0006.dcm is 6 x 16", "12 x 16", change=cropped)

    def test_a_scout_among_the_slices(self, tmp_path: Path) -> None:
        def scout(k: int, ds: FileDataset) -> None:
            if k == 9:
                ds.ImageOrientationPatient = list(SAGITTAL)

        self.refused(tmp_path, "image0009.dcm", "oriented differently", "scouts", change=scout)

    def test_gantry_tilt(self, tmp_path: Path) -> None:
        def tilted(k: int, ds: FileDataset) -> None:
            ds.ImagePositionPatient = [0.0, 0.0, 1.25 * k]

        # 18 degrees: the slices shift by sin(18 deg) x 11.25 mm = 3.5 mm
        leaning = (1.0, 0.0, 0.0, 0.0, 0.950, -0.3122)
        self.refused(tmp_path, "3.5 mm", "gantry tilt", "resampling", orientation=leaning, change=tilted)

    @pytest.mark.parametrize("name", ["ImagePositionPatient", "ImageOrientationPatient"])
    def test_no_place(self, tmp_path: Path, name: str) -> None:
        self.refused(tmp_path, "no position or orientation", change=leaving_out(name))

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"ImagePositionPatient": [1, 2]}, "3 finite numbers are needed to place the image"),
            ({"ImageOrientationPatient": [1, 0, 0]}, "6 finite numbers are needed to place the image"),
            ({"ImageOrientationPatient": [0] * 6}, "do not place the image"),
        ],
    )
    def test_a_place_that_is_none(self, tmp_path: Path, values: dict[str, object], words: str) -> None:
        self.refused(tmp_path, "image0000.dcm", words, change=setting(**values))

    def test_pixels_that_were_cut_off(self, tmp_path: Path) -> None:
        write_series(tmp_path, HU)
        whole = tmp_path / "image0004.dcm"
        whole.write_bytes(whole.read_bytes()[:-100])
        message = refusal(tmp_path)
        assert "image0004.dcm" in message
        assert "copy the series again" in message

    def test_values_that_are_not_hounsfield_units(self, tmp_path: Path) -> None:
        # an export that zeroed the intercept: air at 24 instead of -1000
        self.refused(tmp_path, "not Hounsfield units", "rescale", change=setting(RescaleIntercept=0))
