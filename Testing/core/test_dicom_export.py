"""A synthetic CT leaves as DICOM that no archive, viewer or program of this project can take for a scanner's image."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from core.dicomseries import chest_slices, write_series
from core.enhancedct import write_enhanced
from pydicom.datadict import dictionary_VR

from KernelNormalizationLib.core.errors import Cancelled, InputError
from KernelNormalizationLib.core.io.dicom_export import export_series, is_synthetic_header, marked_by_header, stored_hu
from KernelNormalizationLib.core.io.dicom_series import find_series, pick_series, read_series
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.volume import CTVolume

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
SHA = "0123456789abcdef" * 4
RECORD: dict[str, Any] = {"method": "unet", "model": "unet-b20f-20261126", "model_sha256": SHA, "version": "0.1.0"}
KEPT = ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID", "ImagePositionPatient", "Manufacturer")
SIGNS = ("ContributingEquipmentSequence", "SeriesDescription", "ImageComments", "DerivationDescription")
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)


def files_of(folder: Path) -> list[Path]:
    """The files of the only series in a folder, last one first."""
    return [item.path for item in pick_series(find_series(folder), None)][::-1]


def synthetic_of(volume: CTVolume, seed: int = 2) -> CTVolume:
    """The volume with noise added, fractions of an HU included."""
    noise = np.random.default_rng(seed).normal(0.0, 20.0, volume.shape).astype(np.float32)
    return volume.with_hu(np.maximum(volume.hu + noise, np.float32(-1024.0)), name="made", synthetic=True)


def exported(folder: Path, out: Path, **changes: Any) -> tuple[CTVolume, list[Path], list[pydicom.Dataset]]:
    """A synthetic volume of a series written with ``changes``, the source, and the images in slice order."""
    write_series(folder, changes.pop("hu", chest_slices()), **changes)
    source = files_of(folder)
    volume = synthetic_of(read_volume(folder))
    export_series(volume, source, RECORD, out)
    return volume, source, [pydicom.dcmread(path) for path in sorted(out.iterdir())]


def dciodvfy_errors(path: Path) -> list[str]:
    """Errors that David Clunie's validator finds."""
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, errors="replace")
    return [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error")]


needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")


@pytest.mark.parametrize("changes", [{}, {"orientation": OBLIQUE}, {"signed": True, "intercept": 0}, {"implicit": True}])
def test_voxels_and_places_come_back_as_stored(tmp_path: Path, changes: dict[str, Any]) -> None:
    volume, source, images = exported(tmp_path / "in", tmp_path / "out", **changes)
    pixels = np.stack([i.pixel_array * float(i.RescaleSlope) + float(i.RescaleIntercept) for i in images])
    np.testing.assert_array_equal(pixels, np.rint(volume.hu))  # 1 HU is the stored step
    again, _, _ = read_series(pick_series(find_series(tmp_path / "out"), None))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), pixels)
    mine = read_volume(tmp_path / "out")
    np.testing.assert_array_equal(mine.hu, pixels.astype(np.float32))
    assert mine.geometry.matches(volume.geometry, 1e-6)
    headers = sorted((pydicom.dcmread(path) for path in source), key=lambda h: h.InstanceNumber)
    assert [i.ImagePositionPatient for i in images] == [h.ImagePositionPatient for h in headers]


def test_the_series_says_what_it_is_and_where_it_belongs(tmp_path: Path) -> None:
    _, source, images = exported(tmp_path / "in", tmp_path / "out")
    headers = {h.SOPInstanceUID: h for h in (pydicom.dcmread(path) for path in source)}
    assert len({i.SOPInstanceUID for i in images} | set(headers)) == 2 * len(images)
    for image in images:
        (reference,) = image.SourceImageSequence
        original = headers[reference.ReferencedSOPInstanceUID]
        assert list(image.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert image.SeriesDescription == "synthetic B20f, research only"
        assert image.ImageComments.startswith("synthetic B20f, research only")
        assert image.BurnedInAnnotation == "NO"
        assert image.ConvolutionKernel == "B70f"  # of the reconstruction that a scanner made
        for name in KEPT:
            assert image[name].value == original[name].value, name
        assert image.SeriesInstanceUID != original.SeriesInstanceUID
        assert "method unet with network unet-b20f-20261126" in image.DerivationDescription
        assert [c.CodeValue for c in image.DerivationCodeSequence] == ["113087"]
        (maker,) = image.ContributingEquipmentSequence
        assert (maker.Manufacturer, maker.ManufacturerModelName) == ("CTKernelNormalization", "unet-b20f-20261126")
        assert list(maker.SoftwareVersions) == ["0.1.0", SHA]


def test_no_name_of_the_patient_stands_in_file_names(tmp_path: Path) -> None:
    _, _, images = exported(tmp_path / "in", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"ct_{k + 1:04d}.dcm" for k in range(len(images))]


@pytest.mark.parametrize("sign", SIGNS)
def test_any_one_sign_tells_that_it_is_synthetic(tmp_path: Path, sign: str) -> None:
    _, source, images = exported(tmp_path / "in", tmp_path / "out")
    only = pydicom.Dataset()
    only[sign] = images[0][sign]
    assert is_synthetic_header(only)
    assert is_synthetic_header({sign: images[0][sign].value})  # as a DICOM database gives values
    assert not is_synthetic_header(pydicom.dcmread(source[0]))


def test_a_volume_read_from_it_can_be_marked_as_the_files_of_this_project_are(tmp_path: Path) -> None:
    _, source, images = exported(tmp_path / "in", tmp_path / "out")
    marked = marked_by_header(read_volume(tmp_path / "out"), images[0])
    assert marked.synthetic
    assert (marked.acquisition.kernel, marked.name) == ("B20f (synthetic)", "CT B20f (synthetic)")
    original = read_volume(tmp_path / "in")
    assert marked_by_header(original, pydicom.dcmread(source[0])) is original


def test_what_an_archive_strips_of_the_source_stays_away(tmp_path: Path) -> None:
    def private(k: int, ds: pydicom.Dataset) -> None:
        ds.add_new(0x00091001, "LO", "vendor")
        ds.PatientIdentityRemoved, ds.LossyImageCompression, ds.SmallestImagePixelValue = "YES", "01", 3
        earlier = pydicom.Dataset()
        earlier.Manufacturer = "An archive"
        earlier.add_new(0x00091001, "LO", "vendor")
        ds.ContributingEquipmentSequence = [earlier]

    _, source, images = exported(tmp_path / "in", tmp_path / "out", change=private)
    private_here = [element for element in images[0].iterall() if element.tag.is_private]
    assert {element.tag.group for element in private_here} == {0x0099}  # the provenance record alone
    assert not any("vendor" in str(element.value) for element in private_here)
    assert (images[0].PatientIdentityRemoved, images[0].LossyImageCompression) == ("YES", "01")
    assert "SmallestImagePixelValue" not in images[0]
    assert [i.Manufacturer for i in images[0].ContributingEquipmentSequence] == ["An archive", "CTKernelNormalization"]
    assert len(pydicom.dcmread(source[0]).ContributingEquipmentSequence) == 1


def test_padding_comes_back_exactly_and_is_declared(tmp_path: Path) -> None:
    hu = chest_slices()
    hu[:, :, :2] = -2000

    def declare(k: int, ds: pydicom.Dataset) -> None:
        ds.add_new("PixelPaddingValue", "SS", -2000)

    volume, _, images = exported(tmp_path / "in", tmp_path / "out", hu=hu, signed=True, intercept=0, change=declare)
    assert volume.padding_value == -2000.0
    again = read_volume(tmp_path / "out")
    assert again.padding_value == -2000.0
    np.testing.assert_array_equal(again.padding_mask, volume.padding_mask)
    assert images[0].PixelPaddingValue == -2000


def test_the_sources_bits_are_kept_where_they_hold_the_values(tmp_path: Path) -> None:
    def twelve(k: int, ds: pydicom.Dataset) -> None:
        ds.BitsStored, ds.HighBit = 12, 11

    write_series(tmp_path / "in", chest_slices(), change=twelve)
    source, volume = files_of(tmp_path / "in"), read_volume(tmp_path / "in")
    fits = export_series(synthetic_of(volume), source, RECORD, tmp_path / "fits")
    assert (fits.encoding.bits, fits.encoding.from_source) == (12, True)
    bright = volume.hu.copy()
    bright[3, 3, 3] = 4000.0
    wide = export_series(volume.with_hu(bright, name="m", synthetic=True), source, RECORD, tmp_path / "wide")
    assert (wide.encoding.bits, wide.encoding.signed, wide.encoding.from_source) == (16, False, True)
    assert read_volume(tmp_path / "wide").hu[3, 3, 3] == 4000.0


def test_values_the_sources_numbers_cannot_hold_get_a_signed_encoding_and_it_is_said(tmp_path: Path) -> None:
    write_series(tmp_path / "in", chest_slices())
    source, volume = files_of(tmp_path / "in"), read_volume(tmp_path / "in")
    dark = volume.hu.copy()
    dark[0, 0, 0] = -1500.0
    made = volume.with_hu(dark, name="made", synthetic=True)
    result = export_series(made, source, RECORD, tmp_path / "out")
    assert (result.encoding.signed, result.encoding.intercept, result.encoding.from_source) == (True, -1024.0, False)
    assert "not the source series' own" in result.encoding.in_words()
    np.testing.assert_array_equal(read_volume(tmp_path / "out").hu, stored_hu(dark, result.encoding))


def half_steps(k: int, ds: pydicom.Dataset) -> None:
    ds.RescaleSlope = 0.5
    ds.PixelData = (2 * np.frombuffer(ds.PixelData, "<u2")).astype("<u2").tobytes()


def other_intercept(k: int, ds: pydicom.Dataset) -> None:
    ds.RescaleIntercept = -1024 - k
    ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") + k).astype("<u2").tobytes()


@pytest.mark.parametrize(("change", "slope", "kept"), [(half_steps, 0.5, True), (other_intercept, 1.0, False)])
def test_odd_rescaling_of_the_source_still_gives_hu(tmp_path: Path, change: Any, slope: float, kept: bool) -> None:
    write_series(tmp_path / "in", chest_slices(), change=change)
    volume = read_volume(tmp_path / "in")
    made = volume.with_hu(volume.hu + np.float32(0.3), name="made", synthetic=True)
    result = export_series(made, files_of(tmp_path / "in"), RECORD, tmp_path / "out")
    assert (result.encoding.slope, result.encoding.from_source) == (slope, kept)
    np.testing.assert_array_equal(read_volume(tmp_path / "out").hu, np.rint(made.hu / slope) * slope)


def test_a_flipped_stack_is_matched_slice_by_slice(tmp_path: Path) -> None:
    write_series(tmp_path / "in", chest_slices())
    source, volume = files_of(tmp_path / "in"), read_volume(tmp_path / "in")
    made = synthetic_of(volume)
    g = volume.geometry
    top = tuple(float(v) for v in (g.ijk_to_lps @ [0, 0, volume.shape[0] - 1, 1])[:3])
    turned = tuple((row[0], row[1], -row[2]) for row in g.direction)
    flipped = replace(made, hu=made.hu[::-1], geometry=replace(g, origin=top, direction=turned))
    export_series(flipped, source, RECORD, tmp_path / "out")
    np.testing.assert_array_equal(read_volume(tmp_path / "out").hu, np.rint(made.hu))


def refused(tmp_path: Path, volume: CTVolume, source: list[Path], record: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        export_series(volume, source, record, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_what_would_mislead_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    write_series(tmp_path / "in", chest_slices())
    source, volume = files_of(tmp_path / "in"), read_volume(tmp_path / "in")
    made = synthetic_of(volume)
    refused(tmp_path, volume, source, RECORD, "not synthetic")
    refused(tmp_path, made, [], RECORD, "no source series")
    refused(tmp_path, made, source, {**RECORD, "input": {"series_instance_uid": "1.2.3"}}, "made from the series 1.2.3")
    moved = replace(made, geometry=replace(made.geometry, origin=(0.0, 0.0, 0.0)))
    refused(tmp_path, moved, source, RECORD, "does not lie where")
    refused(tmp_path, replace(made, hu=made.hu[:-1]), source, RECORD, "slices, rows, columns")


def test_a_multi_frame_source_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_series(tmp_path / "in", chest_slices())
    source, volume = files_of(tmp_path / "in"), read_volume(tmp_path / "in")
    image = pydicom.dcmread(source[0])
    image.NumberOfFrames = 10
    image.save_as(source[0])
    with pytest.raises(InputError, match="single-frame CT images first"):
        export_series(synthetic_of(volume), source, RECORD, tmp_path / "out")


def test_odd_values_of_a_source_are_carried_along_without_quoting_them(tmp_path: Path) -> None:
    def odd(k: int, ds: pydicom.Dataset) -> None:
        ds.PatientName = "Doe-Jane"
        ds.PatientID = "PID" + 70 * "4"  # longer than LO allows
        ds.SpecificCharacterSet, ds.StudyDescription = "ISO_IR 100", "Brustkorb für Übersicht"

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        write_series(tmp_path / "in", chest_slices(), change=odd)
        source, volume = files_of(tmp_path / "in"), synthetic_of(read_volume(tmp_path / "in"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        export_series(volume, source, RECORD, tmp_path / "out")
    assert warned == []
    with warnings.catch_warnings(record=True):
        image = pydicom.dcmread(tmp_path / "out" / "ct_0001.dcm")
        assert (image.PatientName, image.PatientID) == ("Doe-Jane", "PID" + 70 * "4")
        assert image.StudyDescription == "Brustkorb für Übersicht"


def test_an_enhanced_source_gives_single_images_that_name_their_frames(tmp_path: Path) -> None:
    def acquired(ds: pydicom.Dataset) -> None:
        for group in ds.PerFrameFunctionalGroupsSequence:
            group.FrameContentSequence[0].FrameAcquisitionNumber = 2

    hu = chest_slices()
    for name, part, first in (("b.dcm", hu[:4], 0), ("a.dcm", hu[4:], 4)):
        write_enhanced(tmp_path / "in" / name, part, uid="1.2.3.9", first=first, change=acquired)
    volume = synthetic_of(read_volume(tmp_path / "in"))
    export_series(volume, sorted((tmp_path / "in").iterdir()), RECORD, tmp_path / "out")
    again = read_volume(tmp_path / "out")
    np.testing.assert_array_equal(again.hu, np.rint(volume.hu))
    assert again.geometry.matches(volume.geometry, 1e-6)
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert [image.InstanceNumber for image in images] == list(range(1, len(hu) + 1))
    assert [image.SourceImageSequence[0].ReferencedFrameNumber for image in images] == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6]
    assert images[0].ConvolutionKernel == "B70f"
    assert (images[0].AcquisitionNumber, images[0].Exposure, images[0].XRayTubeCurrent) == (2, 90, 200)
    # frames state these numbers in binary, single images as text
    assert [e.keyword for e in images[0] if not e.tag.is_private and e.VR not in dictionary_VR(e.tag)] == []
    if shutil.which("dciodvfy") is not None:
        assert dciodvfy_errors(tmp_path / "out" / "ct_0001.dcm") == []


def test_a_number_that_a_conversion_to_enhanced_ct_left_empty_stays_empty_in_the_form_of_single_images(tmp_path: Path) -> None:
    def emptied(ds: pydicom.Dataset) -> None:
        for group in ds.PerFrameFunctionalGroupsSequence:
            group.FrameContentSequence[0].FrameAcquisitionNumber = None

    write_enhanced(tmp_path / "in" / "a.dcm", chest_slices(), change=emptied)
    volume = synthetic_of(read_volume(tmp_path / "in"))
    export_series(volume, sorted((tmp_path / "in").iterdir()), RECORD, tmp_path / "out")
    number = pydicom.dcmread(tmp_path / "out" / "ct_0001.dcm")["AcquisitionNumber"]
    assert (number.VR, number.value) == ("IS", None)


def test_highdicom_reads_the_same_volume(tmp_path: Path) -> None:
    hd = pytest.importorskip("highdicom", reason="highdicom (the extra dicom) is not installed")
    volume, _, images = exported(tmp_path / "in", tmp_path / "out")
    found = hd.get_volume_from_series(images)
    corner = found.affine[:3, 3]  # highdicom may stack from either end
    order = 1 if np.allclose(corner, images[0].ImagePositionPatient) else -1
    np.testing.assert_array_equal(found.array[::order], np.rint(volume.hu))
    assert found.frame_of_reference_uid == images[0].FrameOfReferenceUID


def test_a_synthetic_series_is_no_source(tmp_path: Path) -> None:
    exported(tmp_path / "in", tmp_path / "out")
    made = synthetic_of(read_volume(tmp_path / "out"))
    with pytest.raises(InputError, match="itself synthetic"):
        export_series(made, files_of(tmp_path / "out"), RECORD, tmp_path / "again")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    exported(tmp_path / "in", tmp_path / "out")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    made = synthetic_of(read_volume(tmp_path / "in"))
    with pytest.raises(InputError, match="not an empty folder"):
        export_series(made, files_of(tmp_path / "in"), RECORD, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_stopped_export_leaves_nothing(tmp_path: Path) -> None:
    write_series(tmp_path / "in", chest_slices())
    made = synthetic_of(read_volume(tmp_path / "in"))
    progress = ProgressTracker(is_cancelled=lambda: len(list(tmp_path.rglob("ct_*.dcm"))) >= 3)
    with pytest.raises(Cancelled):
        export_series(made, files_of(tmp_path / "in"), RECORD, tmp_path / "out", progress)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def no_body_part(_: int, ds: pydicom.Dataset) -> None:
    del ds.BodyPartExamined


@needs_dciodvfy
@pytest.mark.parametrize(
    "changes", [{}, {"orientation": OBLIQUE}, {"signed": True, "intercept": 0}, {"kernel": None}, {"change": no_body_part}]
)
def test_an_independent_validator_finds_no_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    exported(tmp_path / "in", tmp_path / "out", **changes)
    for path in (tmp_path / "out").iterdir():
        assert dciodvfy_errors(path) == []


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("lung-dx-a0001-philips", "sharp_L"), ("cptac-c3n00247-siemens", "sharp_B70f")])
def test_real_series_come_back_exactly(parts: tuple[str, ...], tmp_path: Path) -> None:
    folder = REAL.joinpath(*parts)
    if not folder.exists():
        pytest.skip(f"real scan {folder} is not here")
    source = files_of(folder)
    volume = synthetic_of(read_volume(folder))
    result = export_series(volume, source, RECORD, tmp_path / "out")
    again = read_volume(tmp_path / "out")
    np.testing.assert_array_equal(again.hu, stored_hu(volume.hu, result.encoding))
    assert again.geometry.matches(volume.geometry, 1e-6)
    assert again.padding_value == volume.padding_value
    assert result.largest_rounding_hu <= 0.5 * result.encoding.slope + 1e-6
    if shutil.which("dciodvfy") is not None:
        assert dciodvfy_errors(tmp_path / "out" / "ct_0001.dcm") == []
