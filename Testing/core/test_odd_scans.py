"""DICOM series and volume files of other programs: each read with the right value, or refused with the tag or slice named."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.dicomseries import chest_slices
from core.test_nothing_wrong_in_silence import HU, only, raw, refusal, series
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ctkernel.cli import main
from EmphysemaQuantLib.core.results.measurement import original_first
from KernelNormalizationLib.core.errors import InputError, ModelError
from KernelNormalizationLib.core.io.reading import read_second_volume, read_volume
from KernelNormalizationLib.core.network.model_domain import Domain
from KernelNormalizationLib.core.network.model_folder import load_model

N = len(HU)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_files_without_preamble_and_file_meta_are_read(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    series(tmp_path)
    for path in tmp_path.iterdir():
        ds = pydicom.dcmread(path)
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        plain = pydicom.Dataset(ds)
        plain.save_as(
            path,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            enforce_file_format=False,
        )
        assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)


def test_a_negative_slope_and_a_slope_that_only_python_reads_are_refused(tmp_path: Path) -> None:
    negative = series(tmp_path / "negative", only(3, lambda ds: setattr(ds, "RescaleSlope", "-1")))
    assert "RescaleSlope (0028,1053) = “-1”" in refusal(negative)
    underscore = series(tmp_path / "underscore", only(3, lambda ds: raw(ds, "RescaleSlope", "1_0")))
    assert "RescaleSlope (0028,1053) = “1_0”" in refusal(underscore)


@pytest.mark.parametrize("intercept", ["0", "-1824", "-624", "-824"])
def test_a_rescale_of_another_slice_is_found_by_the_neighbours(tmp_path: Path, intercept: str) -> None:
    message = refusal(series(tmp_path, only(5, lambda ds: setattr(ds, "RescaleIntercept", intercept))))
    assert f"states the rescale slope 1 and intercept -1024, the next slice image0005.dcm 1 and {intercept}" in message


@pytest.mark.parametrize("slope", ["2", "0.5", "10", "1.5", "1.2", "0.8"])
def test_so_is_a_slope_of_another_slice(tmp_path: Path, slope: str) -> None:
    message = refusal(series(tmp_path, only(5, lambda ds: setattr(ds, "RescaleSlope", slope))))
    assert f"the next slice image0005.dcm {slope} and -1024" in message


def test_a_rescale_that_differs_between_slices_is_right_where_the_values_fit(tmp_path: Path) -> None:
    def change(k: int, ds: pydicom.FileDataset) -> None:
        ds.RescaleIntercept = str(-1024 - 100 * (k % 2))
        stored = np.frombuffer(ds.PixelData, np.uint16).astype(int) + 100 * (k % 2)
        ds.PixelData = stored.astype(np.uint16).tobytes()

    np.testing.assert_array_equal(read_volume(series(tmp_path, change)).hu, HU)


def test_a_small_difference_of_one_rescale_is_told(tmp_path: Path) -> None:
    volume = read_volume(series(tmp_path, only(5, lambda ds: setattr(ds, "RescaleIntercept", "-1026"))))
    np.testing.assert_array_equal(volume.hu[5], HU[5] - 2)
    (note,) = volume.acquisition.reading_notes
    assert "1 slice(s) state another rescale than all others, first “image0005.dcm” the slope 1 and intercept -1026" in note


@pytest.mark.parametrize("kind", ["MGML", "Z_EFF", "ED"])
def test_a_map_of_dual_energy_ct_is_no_ct(tmp_path: Path, kind: str) -> None:
    message = refusal(series(tmp_path, lambda _, ds: setattr(ds, "RescaleType", kind)))
    assert f"RescaleType (0028,1054) = “{kind}”" in message


@pytest.mark.parametrize("kind", ["MIP", "MINIP", "MIN_IP", "CSA MIP", "vrt"])
def test_a_projection_through_slices_is_no_scan_to_measure(tmp_path: Path, kind: str) -> None:
    """On a chest with an index of 11.2 % a MIP of three slices had 0.2 %, a MinIP 28 %."""
    message = refusal(series(tmp_path, lambda _, ds: setattr(ds, "ImageType", ["DERIVED", "SECONDARY", "AXIAL", kind])))
    assert kind in message
    assert "a projection through many slices" in message


def test_a_projection_that_is_named_in_words_only_is_none_either(tmp_path: Path) -> None:
    def change(_: int, ds: pydicom.FileDataset) -> None:
        ds.ImageType, ds.SeriesDescription = ["DERIVED", "SECONDARY", "MPR"], "Thorax MinIP ax 10/5 Meier"

    message = refusal(series(tmp_path, change))
    assert "states “MINIP” in its description: a projection" in message
    assert "Meier" not in message


def test_a_reformat_is_no_projection(tmp_path: Path) -> None:
    folder = series(tmp_path, lambda _, ds: setattr(ds, "ImageType", ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]))
    np.testing.assert_array_equal(read_volume(folder).hu, HU)


@pytest.mark.parametrize(
    "other", [{"Modality": "OT"}, {"Modality": "SR"}, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}], ids=str
)
def test_dose_sheets_and_scouts_beside_the_scan_leave_nothing_to_choose(tmp_path: Path, other: dict[str, object]) -> None:
    folder = series(tmp_path, lambda _, ds: None)
    ds = pydicom.dcmread(next(folder.iterdir()))
    ds.SeriesInstanceUID, ds.SOPInstanceUID = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    for keyword, value in other.items():
        setattr(ds, keyword, value)
    ds.save_as(folder / "beside.dcm")
    np.testing.assert_array_equal(read_volume(folder).hu, HU)


def test_one_slice_of_ct_under_another_uid_is_not_left_out_without_a_word(tmp_path: Path) -> None:
    folder = series(tmp_path, lambda k, ds: setattr(ds, "SeriesInstanceUID", "1.2.3.4") if k == 9 else None)
    assert "The folder holds 2 series" in refusal(folder)


def test_pixels_beyond_their_stated_bits_are_refused_except_as_padding(tmp_path: Path) -> None:
    def stated(ds: pydicom.FileDataset) -> None:
        ds.BitsStored, ds.HighBit = 12, 11

    def swapped(ds: pydicom.FileDataset) -> None:
        stated(ds)
        ds.PixelData = np.frombuffer(ds.PixelData, np.uint16).byteswap().tobytes()

    assert "BitsStored" in refusal(series(tmp_path / "swapped", only(4, swapped)))


def test_bone_above_the_range_of_its_stated_bits_does_not_become_air(tmp_path: Path) -> None:
    hu = HU.copy()
    hu[:, 6:9, 6:9] = 3000.0

    def change(k: int, ds: pydicom.FileDataset) -> None:
        ds.PixelRepresentation, ds.RescaleIntercept, ds.BitsStored, ds.HighBit = 1, "0", 12, 11
        ds.PixelData = hu[k].astype(np.int16).tobytes()

    np.testing.assert_array_equal(read_volume(series(tmp_path, change)).hu, hu)


@pytest.mark.parametrize(
    ("keyword", "value"), [("Manufacturer", "GE MEDICAL SYSTEMS"), ("ImageType", ["DERIVED", "SECONDARY", "MPR"])]
)
def test_slices_of_another_maker_or_origin_do_not_belong_to_one_scan(tmp_path: Path, keyword: str, value: object) -> None:
    def change(k: int, ds: pydicom.FileDataset) -> None:
        ds.Manufacturer, ds.ImageType = "SIEMENS", ["ORIGINAL", "PRIMARY", "AXIAL"]
        if k >= N // 2:
            setattr(ds, keyword, value)

    assert keyword.lower() in refusal(series(tmp_path, change)).lower()


def test_a_slice_that_was_never_transferred_is_named(tmp_path: Path) -> None:
    message = refusal(series(tmp_path, only(4, lambda ds: setattr(ds, "PixelData", bytes(len(ds.PixelData))))))
    assert "single value -1024 HU" in message
    assert ".dcm" in message


def test_air_at_the_ends_of_a_volume_is_no_missing_slice(tmp_path: Path) -> None:
    hu = chest_slices(12)
    hu[0] = hu[-1] = -1024.0
    assert read_volume(series(tmp_path, hu=hu)).hu.shape[0] == 12


def test_impossible_positions_and_voxel_sizes_are_named(tmp_path: Path) -> None:
    far = series(tmp_path / "far", only(3, lambda ds: setattr(ds, "ImagePositionPatient", ["0", "0", "1e300"])))
    assert "ImagePositionPatient (0020,0032)" in refusal(far)
    tiny = series(tmp_path / "tiny", lambda _, ds: setattr(ds, "PixelSpacing", ["1e-6", "1e-6"]))
    assert "1e-06" in refusal(tiny)


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated"])
def test_a_missing_tag_is_said_to_be_missing(tmp_path: Path, keyword: str) -> None:
    assert f"states no {keyword} (0028," in refusal(series(tmp_path, only(3, lambda ds: delattr(ds, keyword))))


def test_distances_of_all_kinds_are_not_called_missing_slices(tmp_path: Path) -> None:
    message = refusal(series(tmp_path, lambda k, ds: setattr(ds, "ImagePositionPatient", ["0", "0", f"{1.25 * k**1.4:.4f}"])))
    assert "distances between slices vary" in message


def test_the_library_for_dicom_does_not_speak_to_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series(tmp_path, lambda _, ds: setattr(ds, "SpecificCharacterSet", "KLINGON"))
    before = logging.getLogger().handlers[:]
    logging.getLogger().handlers.clear()
    try:
        main(["info", str(tmp_path)])
    finally:
        logging.getLogger().handlers[:] = before
    assert "KLINGON" not in capsys.readouterr().err


def _metaimage(path: Path, *fields: str) -> Path:
    lines = ["NDims = 3", *fields, "ElementSpacing = 0.7 0.7 1", f"DimSize = {HU.shape[2]} {HU.shape[1]} {HU.shape[0]}"]
    header = "\n".join([*lines, "ElementType = MET_SHORT", "ElementDataFile = LOCAL", ""])
    path.write_bytes(header.encode() + HU.astype("<i2").tobytes())
    return path


def test_a_metaimage_that_is_no_image_or_keeps_other_values_than_hu_is_refused(tmp_path: Path) -> None:
    plain = _metaimage(tmp_path / "plain.mha", "ElementToIntensityFunctionSlope = 1", "ObjectType = Image")
    np.testing.assert_array_equal(read_volume(plain).hu, HU)
    assert "ObjectType = “Mesh”" in refusal(_metaimage(tmp_path / "mesh.mha", "ObjectType = Mesh"))
    scaled = _metaimage(tmp_path / "scaled.mha", "ElementToIntensityFunctionSlope = 2")
    assert "ElementToIntensityFunctionSlope" in refusal(scaled)


def test_volume_files_with_slices_of_one_value_or_an_axis_of_time_are_refused(tmp_path: Path) -> None:
    hu = HU.astype("<i2")
    hu[-3:] = 0
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {hu.shape[2]} {hu.shape[1]} {hu.shape[0]}\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        "kinds: domain domain {}\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
    )
    empty, repeated = tmp_path / "empty.nrrd", tmp_path / "repeated.nrrd"
    empty.write_bytes(header.format("domain").encode() + hu.tobytes())
    assert "3 slice(s) hold the single value 0 HU" in refusal(empty)
    repeated.write_bytes(header.format("time").encode() + HU.astype("<i2").tobytes())
    assert "“time”" in refusal(repeated)


def test_a_volume_is_not_compared_with_itself(tmp_path: Path) -> None:
    path = _metaimage(tmp_path / "scan.mha")
    with pytest.raises(InputError, match="compared with itself"):
        read_second_volume(path, None, tmp_path / "." / "scan.mha", None)


def test_a_series_is_not_compared_with_a_copy_of_itself(tmp_path: Path) -> None:
    path = series(tmp_path / "scan")
    first, again = read_volume(path), read_volume(shutil.copytree(path, tmp_path / "copy"))
    other = read_volume(series(tmp_path / "other"))
    with pytest.raises(InputError, match="Both volumes are the same"):
        original_first([first, again])
    assert original_first([first, other]) == (first, other)


def test_a_card_that_is_no_text_is_refused_without_the_words_of_python(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ModelError, match="no text in UTF-8"):
        load_model(tmp_path)


@pytest.mark.parametrize("section", [3, [], "Siemens", {}])
def test_a_damaged_domain_of_a_model_is_said_in_plain_words(section: object) -> None:
    with pytest.raises(ModelError, match="an entry is missing, or of another kind"):
        Domain.from_card(section)
