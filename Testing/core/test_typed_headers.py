"""Header fields of another type than they must have, and files that break in the ways pydicom knows: each is named."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.test_nothing_wrong_in_silence import HU, edited, only, patched, raw, refusal, series, volume_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from KernelNormalizationLib.core.io.reading import read_volume

Damage = Callable[[Path], None]
SYSTEM_WORDS = ("itk", "Errno", "NoneType", "object is not", "has no attribute", "could not convert", "codec", "Traceback")


def stored_as(keyword: str, vr: str, content: bytes) -> Callable[[FileDataset], None]:
    """Store a tag with the bytes of another type."""

    def edit(ds: FileDataset) -> None:
        ds[Tag(keyword)] = RawDataElement(Tag(keyword), vr, len(content), content, 0, False, True)

    return edit


@pytest.mark.parametrize(
    ("keyword", "vr", "content"),
    [
        ("Columns", "US", struct.pack("<2H", 16, 16)),
        ("Columns", "US", b""),
        ("Rows", "FD", struct.pack("<d", 12.5)),
        ("SamplesPerPixel", "LO", b"abc "),
        ("BitsAllocated", "US", struct.pack("<H", 12)),
        ("PixelRepresentation", "US", struct.pack("<H", 7)),
        ("NumberOfFrames", "IS", b"x "),
        ("ImagePositionPatient", "LO", b"HEAD"),
        ("ImageOrientationPatient", "LO", b"AXIAL "),
        ("PixelSpacing", "DS", b"0.7 "),
    ],
)
def test_a_field_of_another_type_is_refused_with_its_name(tmp_path: Path, keyword: str, vr: str, content: bytes) -> None:
    message = refusal(series(tmp_path, only(4, stored_as(keyword, vr, content))))
    assert keyword in message
    assert "image0004.dcm" in message


@pytest.mark.parametrize(
    ("keyword", "count", "told"), [("NumberOfFrames", 2, "states 2 frames"), ("SamplesPerPixel", 3, "has 3 colour channels")]
)
def test_frames_and_colours_among_single_images_are_refused(tmp_path: Path, keyword: str, count: int, told: str) -> None:
    """The pixels have the length of one grey image all the same."""
    assert f"image0004.dcm {told}" in refusal(series(tmp_path, only(4, lambda ds: setattr(ds, keyword, count))))


@pytest.mark.parametrize(
    ("keyword", "vr", "content"),
    [
        ("KVP", "SQ", b""),
        ("SliceThickness", "FD", struct.pack("<d", np.nan)),
        ("PixelPaddingValue", "US", struct.pack("<2H", 1, 2)),
        ("ConvolutionKernel", "FD", struct.pack("<d", 70.0)),
    ],
)
def test_one_that_is_not_needed_changes_no_voxel(tmp_path: Path, keyword: str, vr: str, content: bytes) -> None:
    def change(_: int, ds: FileDataset) -> None:
        if vr == "SQ":
            ds.add_new(Tag(keyword), "SQ", [])
        else:
            stored_as(keyword, vr, content)(ds)

    volume = read_volume(series(tmp_path, change))
    np.testing.assert_array_equal(volume.hu, HU)
    assert volume.padding_value is None
    assert volume.acquisition.slice_thickness_mm == (None if keyword == "SliceThickness" else 1.5)


@pytest.mark.parametrize(
    ("keyword", "vr", "content"),
    [("SeriesDescription", "LO", b"Thorax \x1b$Z 3.0"), ("ContributingEquipmentSequence", "LO", b"not a sequence")],
)
def test_damaged_remarks_make_no_noise_and_no_scan_synthetic(tmp_path: Path, keyword: str, vr: str, content: bytes) -> None:
    def change(_: int, ds: FileDataset) -> None:
        ds.SpecificCharacterSet = "ISO 2022 IR 6\\ISO 2022 IR 87"
        stored_as(keyword, vr, content)(ds)

    folder = series(tmp_path, change)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not read_volume(folder).synthetic


def test_an_unknown_transfer_syntax_is_named(tmp_path: Path) -> None:
    path = series(tmp_path) / "image0002.dcm"
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = "1.2.3.4.5"
    path.unlink()
    pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=True, force_encoding=True)
    message = refusal(tmp_path)
    assert "image0002.dcm" in message
    assert "1.2.3.4.5" in message


def deflated(path: Path) -> None:
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path)
    path.write_bytes(path.read_bytes()[:-60])


def run_length_encoded(path: Path) -> None:
    ds = pydicom.dcmread(path)
    ds.compress(RLELossless)
    ds.save_as(path)
    path.write_bytes(path.read_bytes()[:-60])


def nested(path: Path) -> None:
    """An element before the pixels that holds a sequence in a sequence, 3,000 deep."""
    content = path.read_bytes()
    place = content.index(b"\xe0\x7f\x10\x00")
    one = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(content[:place] + 3000 * one + content[place:])


def cut_in_a_sequence(path: Path) -> None:
    """The file ends in a sequence before the pixels, where the library finds "No tag to read"."""
    content = path.read_bytes()
    place = content.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[:place] + b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff")


def odd_length(path: Path) -> None:
    """Rows in three bytes."""
    content = path.read_bytes()
    place = content.index(b"\x28\x00\x10\x00US")
    path.write_bytes(content[: place + 6] + b"\x03\x00\x0c\x00\x00" + content[place + 10 :])


def no_number(path: Path) -> None:
    ds = pydicom.dcmread(path)
    raw(ds, "RescaleSlope", "\x00\xff")
    ds.save_as(path)


def cut_in_a_length(path: Path) -> None:
    """The file ends within the four bytes of a length."""
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xe0\x7f\x10\x00")] + b"\x40\x00\x75\x02SQ\0\0\xff\xff")


def unknown_type(path: Path) -> None:
    """Rows of the type ZZ, which does not exist."""
    path.write_bytes(path.read_bytes().replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00ZZ"))


def wrong_segments(path: Path) -> None:
    """Run-length encoded pixels whose header counts three parts of them, where 16 bits have two."""
    ds = pydicom.dcmread(path)
    ds.compress(RLELossless)
    ds.save_as(path)
    content = path.read_bytes()
    place = content.index(struct.pack("<2I", 2, 64))
    path.write_bytes(content[:place] + b"\x03" + content[place + 1 :])


def foreign_fragment(path: Path) -> None:
    """Encapsulated pixels whose second item is none."""
    ds = pydicom.dcmread(path)
    ds.compress(RLELossless)
    ds.save_as(path)
    content = path.read_bytes()
    place = content.index(struct.pack("<2I", 2, 64)) - 8
    path.write_bytes(content[:place] + b"\x08\x00\x16\x00" + content[place + 4 :])


@pytest.mark.parametrize(
    "damage",
    [
        deflated,
        run_length_encoded,
        nested,
        cut_in_a_sequence,
        cut_in_a_length,
        odd_length,
        no_number,
        unknown_type,
        wrong_segments,
        foreign_fragment,
    ],
)
def test_however_a_file_breaks_it_is_named(tmp_path: Path, damage: Damage) -> None:
    path = series(tmp_path) / "image0009.dcm"  # the last slice: no gap tells of it
    damage(path)
    message = refusal(tmp_path)
    assert "image0009.dcm" in message
    assert not any(word in message for word in SYSTEM_WORDS)


def test_pixels_that_an_item_delimiter_fills_up_are_refused(tmp_path: Path) -> None:
    delimiter = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00"

    def edit(ds: FileDataset) -> None:
        ds.PixelData = ds.PixelData[: -len(delimiter)] + delimiter

    message = refusal(series(tmp_path, only(4, edit)))
    assert "image0004.dcm" in message


def test_a_sheared_nrrd_is_refused(tmp_path: Path) -> None:
    path = volume_file(tmp_path / "a.nrrd")
    assert "right angles" in refusal(edited(path, "(0,0.69999999999999996,0)", "(0.4,0.7,0)"))


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".mha"])
def test_an_infinite_spacing_is_called_so(tmp_path: Path, suffix: str) -> None:
    path = volume_file(tmp_path / f"a{suffix}")
    if suffix == ".nii":
        patched(path, 80, "f", np.inf)
    elif suffix == ".mha":
        edited(path, "ElementSpacing = 0.59999999999999998", "ElementSpacing = inf")
    else:
        edited(path, "(0,0,1.25)", "(0,0,inf)")
    message = refusal(path)
    assert "inf" in message
    assert "zero" not in message


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_a_refusal_speaks_plainly_and_no_library_warns(tmp_path: Path, suffix: str) -> None:
    voxels = HU.astype(np.float32)
    voxels[3, 4, 5], voxels[4, 4, 4] = np.inf, 3e38
    whole = volume_file(tmp_path / f"whole{suffix}")
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    junk = tmp_path / f"junk{suffix}"
    junk.write_bytes(bytes(range(256)) * 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        huge = HU.astype(np.float64)
        huge[3, 4, 5] = 1e300  # more than the 32 bits of a voxel hold
        for path in (volume_file(tmp_path / f"a{suffix}", voxels), volume_file(tmp_path / f"huge{suffix}", huge), cut, junk):
            message = refusal(path)
            assert not any(word in message for word in SYSTEM_WORDS), message


# Not ru_maxrss: a new process takes over the peak of the one that it was made from.
PEAK = """
import re, sys
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume
try:
    read_volume(sys.argv[1])
except InputError as error:
    sys.stderr.write(str(error))
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


def promising(path: Path) -> None:
    """Write a file of this suffix whose header promises 4 GB of voxels: ten slices are there."""
    volume_file(path, HU[:10].astype(np.float32))
    if path.suffix == ".nii":
        patched(path, 42, "3h", 1024, 1024, 1000)
    elif path.suffix == ".nrrd":
        edited(path, "sizes: 16 12 10", "sizes: 1024 1024 1000")
    else:
        edited(path, "DimSize = 16 12 10", "DimSize = 1024 1024 1000")


def overflowing(path: Path) -> None:
    """Write a packed file of this suffix, 2 MB on disk, that holds 2 GB where its header promises ten slices."""
    plain = volume_file(path.with_name(f"plain{'.nii' if path.suffix == '.gz' else path.suffix}"))
    members = gzip.compress(bytes(1 << 26)) * 32
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(plain.read_bytes()) + members)
    else:
        head, mark, body = edited(plain, "encoding: raw", "encoding: gzip").read_bytes().partition(b"\n\n")
        path.write_bytes(head + mark + gzip.compress(body) + members)
    plain.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kB on Linux")
@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        ("a.nrrd", promising, "7680 bytes of"),
        ("a.nii", promising, "its header promises 4194304352"),
        ("a.mha", promising, "7680 bytes of"),
        ("packed.nrrd", overflowing, "holds more than the 3840 bytes"),
        ("packed.nii.gz", overflowing, "holds more than the 4192 bytes"),
    ],
)
def test_gigabytes_that_are_promised_or_packed_are_not_taken(tmp_path: Path, name: str, make: Damage, told: str) -> None:
    make(tmp_path / name)
    run = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path / name)], capture_output=True, text=True, check=True)
    assert told in run.stderr
    assert int(run.stdout) < 1_000_000


@pytest.mark.parametrize("uid", ["abc", "1.2.3.4"])
def test_a_transfer_syntax_that_nobody_knows_is_named_and_no_library_warns(tmp_path: Path, uid: str) -> None:
    path = series(tmp_path) / "image0002.dcm"
    ds = pydicom.dcmread(path)
    content = path.read_bytes()
    known = ds.file_meta.TransferSyntaxUID.encode()
    path.write_bytes(content.replace(known, uid.encode().ljust(len(known), b"\0"), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = refusal(tmp_path)
    assert f"image0002.dcm is written in the transfer syntax “{uid}”" in message


@pytest.mark.parametrize(("vr", "value"), [("FD", float("nan")), ("FD", float("inf")), ("DS", "1e999")])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_number_of_another_type_must_be_finite_too(tmp_path: Path, keyword: str, vr: str, value: object) -> None:
    def edit(ds: FileDataset) -> None:
        if vr == "DS":
            raw(ds, keyword, str(value))
        else:
            del ds[keyword]
            ds.add_new(keyword, vr, value)

    message = refusal(series(tmp_path, only(4, edit)))
    assert f"image0004.dcm states {keyword}" in message
    assert "one finite number is needed" in message
