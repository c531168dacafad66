"""Faults that once gave a wrong number in silence, in the other formats and by the other ways in: each is named."""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from core.dicomseries import chest_slices
from core.refusals import refusal
from core.test_nothing_wrong_in_silence import HU, edited, only, patched, raw, series, volume_file
from core.test_typed_headers import stored_as
from pydicom.dataset import FileDataset

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_series import find_series
from KernelNormalizationLib.core.io.reading import read_dicom_files, read_volume
from KernelNormalizationLib.core.io.whole_sets import PRIVATE_PREFIX

GRID = "NRRD0004\ntype: short\ndimension: 3\nsizes: 16 12 10\nendian: little\nspacings: 0.6 0.7 1.25\n"
BODY = HU.astype("<i2").tobytes()


def packed_nrrd(path: Path, encoding: str, body: bytes) -> Path:
    path.write_bytes(f"{GRID}encoding: {encoding}\n\n".encode() + body)
    return path


def packed_metaimage(path: Path, body: bytes) -> Path:
    header = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
    header += "ElementSpacing = 0.6 0.7 1.25\nDimSize = 16 12 10\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    path.write_bytes(header.encode() + body)
    return path


def flipped(packed: bytes) -> bytes:
    """One bit of a stored voxel changed, which only the checksum tells of."""
    assert BODY[-300:] in packed
    at = packed.index(BODY[-300:])
    return packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]


class TestChecksums:
    """``gzip.compress(…, 0)`` stores without packing, so that a changed bit stays readable."""

    @pytest.mark.parametrize("change", [bytes, flipped])
    def test_of_gzip_in_nrrd(self, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
        self.check(packed_nrrd(tmp_path / "a.nrrd", "gzip", change(gzip.compress(BODY, 0))), change is bytes)

    @pytest.mark.parametrize("change", [bytes, flipped])
    def test_of_zlib_in_metaimage(self, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
        self.check(packed_metaimage(tmp_path / "a.mha", change(zlib.compress(BODY, 0))), change is bytes)

    def test_of_bzip2_in_nrrd(self, tmp_path: Path) -> None:
        packed = bz2.compress(BODY)
        self.check(packed_nrrd(tmp_path / "a.nrrd", "bzip2", packed), True)
        # the checksum of the whole stream stands in its last bytes
        self.check(packed_nrrd(tmp_path / "b.nrrd", "bzip2", packed[:-3] + bytes([packed[-3] ^ 8]) + packed[-2:]), False)

    @staticmethod
    def check(path: Path, whole: bool) -> None:
        if whole:
            np.testing.assert_array_equal(read_volume(path).hu, HU)
        else:
            assert refusal(path).startswith(f"The packed content of {path.name} is cut off or damaged")


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".mha"])
def test_more_bytes_than_the_header_promises(tmp_path: Path, suffix: str) -> None:
    path = volume_file(tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes() + bytes(100))
    assert f"{path.name} holds more than the " in refusal(path)


def test_more_packed_bytes_than_the_header_promises(tmp_path: Path) -> None:
    content = volume_file(tmp_path / "a.nii").read_bytes()
    for path, body in (
        (tmp_path / "a.nii.gz", gzip.compress(content + bytes(100))),
        (packed_nrrd(tmp_path / "a.nrrd", "gzip", b""), gzip.compress(BODY + bytes(100))),
        (packed_metaimage(tmp_path / "a.mha", b""), zlib.compress(BODY + bytes(100))),
    ):
        path.write_bytes(path.read_bytes() + body if path.exists() else body)
        assert f"{path.name} holds more than the " in refusal(path)


def test_sheared_and_scaled_axes_of_nifti(tmp_path: Path) -> None:
    def with_sform(name: str, column: tuple[float, float, float]) -> Path:
        path = patched(volume_file(tmp_path / name), 252, "2h", 0, 1)
        i, j, k = column
        return patched(path, 280, "12f", -0.6, i, 0, 1, 0, j, 0, 2, 0, k, 1.25, 3)

    np.testing.assert_array_equal(read_volume(with_sform("whole.nii", (0.0, -0.7, 0.0))).hu, HU)
    assert "right angles" in refusal(with_sform("sheared.nii", (0.5, -0.49, 0.0)))
    assert "contradict" in refusal(with_sform("scaled.nii", (0.0, -1.4, 0.0)))


def test_axes_of_dicom_that_are_not_at_right_angles(tmp_path: Path) -> None:
    message = refusal(series(tmp_path, lambda _, ds: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0.5, 0.866, 0])))
    assert "image0000.dcm has position" in message
    assert "do not place the image" in message


@pytest.mark.parametrize(
    ("keyword", "content"),
    [
        ("ImagePositionPatient", [0.0, np.nan, 0.0]),
        ("ImagePositionPatient", [0.0, 0.0, np.inf]),
        ("PixelSpacing", [np.inf, 0.6]),
        ("PixelSpacing", [0.7, np.nan]),
        ("RescaleIntercept", [-np.inf]),
    ],
)
def test_binary_numbers_that_are_not_finite(tmp_path: Path, keyword: str, content: list[float]) -> None:
    packed = np.array(content, "<f8").tobytes()
    message = refusal(series(tmp_path, only(3, stored_as(keyword, "FD", packed))))
    assert f"image0003.dcm states {keyword}" in message
    assert "finite number" in message


@pytest.mark.parametrize(
    ("keyword", "text"),
    [("ImagePositionPatient", "0\\0\\1e999"), ("PixelSpacing", "1e999\\0.6"), ("RescaleSlope", "1e999")],
)
def test_decimal_numbers_too_large_for_any_number(tmp_path: Path, keyword: str, text: str) -> None:
    message = refusal(series(tmp_path, only(3, lambda ds: raw(ds, keyword, text))))
    assert f"image0003.dcm states {keyword}" in message
    assert "1e999" in message


def test_a_whole_series_of_colour_with_one_sample(tmp_path: Path) -> None:
    message = refusal(series(tmp_path, lambda _, ds: setattr(ds, "PhotometricInterpretation", "RGB")))
    assert "image0000.dcm states the photometric interpretation “RGB”; CT is MONOCHROME2" in message


def test_two_patients_whose_names_alone_differ(tmp_path: Path) -> None:
    message = refusal(series(tmp_path, lambda k, ds: setattr(ds, "PatientName", "Doe^Jane" if k < 5 else "Roe^John")))
    assert "2 different patients: patient 1 in 5 image(s)" in message
    assert "Doe" not in message
    assert "Roe" not in message


@pytest.mark.parametrize("tag", [b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"])
@pytest.mark.parametrize("signed", [0, 1])
def test_pixels_filled_up_by_a_delimiter_are_too_few(tmp_path: Path, tag: bytes, signed: int) -> None:
    """The last four pixels were lost, and the bytes that end a packed element stand in their place."""

    def change(k: int, ds: FileDataset) -> None:
        ds.PixelRepresentation = signed
        if k == 4:
            ds.PixelData = ds.PixelData[:-8] + tag + bytes(4)

    assert refusal(series(tmp_path, change)).startswith("image0004.dcm holds fewer pixels than 12 x 16")


class TestUnreadableFilesOfASeries:
    @staticmethod
    def renamed(folder: Path, name: Callable[[int], str]) -> list[Path]:
        return [path.rename(folder / name(n)) for n, path in enumerate(sorted(series(folder).iterdir()))]

    @pytest.mark.parametrize(
        "within", [b"", b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0"], ids=["end", "sequence"]
    )
    @pytest.mark.parametrize("which", [0, 4, 9])
    def test_is_named_whatever_its_name(self, tmp_path: Path, which: int, within: bytes) -> None:
        """Cut off before its image, there or within a sequence ("No tag to read")."""
        words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet"]
        path = self.renamed(tmp_path, lambda n: words[n])[which]
        content = path.read_bytes()
        path.write_bytes(content[: content.index(b"\x28\x00\x10\x00US")] + within)
        assert refusal(tmp_path).startswith(f"“{words[which]}” is cut off")

    @pytest.mark.parametrize("which", [0, 9])
    @pytest.mark.parametrize(
        "name",
        [lambda n: f"{n:03d}", lambda n: f"1.2.840.{n}", lambda n: f"{(n + 1) * 0x1B3C5D7F % 0xFFFFFFFF:08x}"],
    )
    def test_of_nothing_but_zeros_is_known_by_its_name(self, tmp_path: Path, which: int, name: Callable[[int], str]) -> None:
        path = self.renamed(tmp_path, name)[which]
        path.write_bytes(bytes(path.stat().st_size))
        assert refusal(tmp_path).startswith(f"“{path.name}” is named like the others and is no DICOM file")

    def test_lists_and_notes_beside_the_slices_are_no_damage(self, tmp_path: Path) -> None:
        self.renamed(tmp_path, lambda n: f"{(n + 1) * 0x1B3C5D7F % 0xFFFFFFFF:08x}")
        for name in ("LOCKFILE", "VERSION", "README", "deadbeef", "Thumbs.db", "index.html"):
            (tmp_path / name).write_bytes(b"no image")
        np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)

    def test_is_left_out_where_the_user_names_the_slices(self, tmp_path: Path) -> None:
        paths = sorted(series(tmp_path).iterdir())
        paths[0].write_bytes(paths[0].read_bytes()[:700])
        assert paths[0].name in refusal(tmp_path)
        volume = read_dicom_files(paths[1:])
        np.testing.assert_array_equal(volume.hu, HU[1:])
        np.testing.assert_allclose(volume.geometry.origin, (-110.0, -95.5, -310.25 + 1.25))
        with pytest.raises(InputError, match=f"“?{paths[0].name}”? is cut off"):
            read_dicom_files(paths)

    def test_of_a_run_that_was_killed_belongs_to_no_series(self, tmp_path: Path) -> None:
        series(tmp_path / "scan")
        unfinished = tmp_path / "scan" / f"{PRIVATE_PREFIX}0-1-x" / "content"
        series(unfinished)
        (unfinished / "image0009.dcm").write_bytes(b"")
        assert len(find_series(tmp_path / "scan")) == 1
        np.testing.assert_array_equal(read_volume(tmp_path / "scan").hu, HU)


def test_the_rescale_of_each_packed_slice_is_a_decimal_number(tmp_path: Path) -> None:
    if shutil.which("dcmcjpeg") is None:
        pytest.skip("dcmcjpeg (Debian's dcmtk) is not installed")
    hu = chest_slices()
    slopes = np.where(np.arange(len(hu)) % 2, 1.0, 0.9375)

    def change(k: int, ds: FileDataset) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = slopes[k], -1000.5

    for path in series(tmp_path, change).iterdir():
        assert os.system(f"dcmcjpeg +e1 '{path}' '{path}.out' > /dev/null") == 0
        Path(f"{path}.out").replace(path)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    expected = (hu.astype(float) + 1024.0) * slopes[:, None, None] - 1000.5
    np.testing.assert_allclose(read_volume(tmp_path).hu, expected, atol=1e-3)


def test_spacing_that_is_missing_in_every_format(tmp_path: Path) -> None:
    path = volume_file(tmp_path / "a.nrrd")
    assert "states no spacing" in refusal(edited(path, "space directions:", "#ace directions:"))
    nan = edited(packed_nrrd(tmp_path / "b.nrrd", "raw", BODY), "spacings: 0.6", "spacings: nan")
    assert "spacing (nan, 0.7, 1.25)" in refusal(nan)
    assert "spacing (0, 0.7, 1.25)" in refusal(patched(volume_file(tmp_path / "a.nii"), 80, "f", 0.0))
    assert "no pixel spacing" in refusal(series(tmp_path / "series", lambda _, ds: delattr(ds, "PixelSpacing")))
    image = sitk.GetImageFromArray(HU)
    sitk.WriteImage(image, str(tmp_path / "one.mha"))
    np.testing.assert_array_equal(read_volume(tmp_path / "one.mha").geometry.spacing, (1.0, 1.0, 1.0))  # stated, so it counts
