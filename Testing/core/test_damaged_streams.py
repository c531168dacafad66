"""Changed bits in compressed pixels that decode without an error into other pixels."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.dicomseries import chest_slices, write_series
from core.enhancedct import write_enhanced
from core.test_dicom_kinds import Edit, by_dcmtk, by_pydicom
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEG2000Lossless, RLELossless

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_pixels import read_pixels
from KernelNormalizationLib.core.io.jpeg2000_blocks import damaged_blocks, has_whole_tiles
from KernelNormalizationLib.core.io.reading import read_volume

HU = chest_slices(8, 64, 80)
ENCODERS = {
    "JPEG lossless": by_dcmtk("dcmcjpeg", "+e1"),
    "JPEG lossless, process 14": by_dcmtk("dcmcjpeg", "+el", "+sv", "6"),
    "JPEG 2000": by_pydicom(JPEG2000Lossless, "openjpeg"),
    "RLE": by_pydicom(RLELossless),
}
DAMAGED = "holds compressed pixels that are damaged|cut off, damaged or cannot be decoded|cannot be decoded"


def stream_of(path: Path) -> bytes:
    return bytes(get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1))


def put_stream(path: Path, stream: bytes) -> None:
    ds = pydicom.dcmread(path)
    ds.PixelData = encapsulate([stream])
    ds.save_as(path)


def slice_file(folder: Path, edit: Edit) -> Path:
    write_series(folder, HU)
    path = sorted(folder.iterdir())[4]
    edit(path)
    return path


@pytest.mark.parametrize("edit", ENCODERS.values(), ids=ENCODERS)
def test_pixels_that_no_longer_fit_their_stream_are_refused(tmp_path: Path, edit: Edit) -> None:
    path = slice_file(tmp_path, edit)
    whole = read_volume(tmp_path).hu
    np.testing.assert_array_equal(whole, HU)
    stream = bytearray(stream_of(path))
    middle = len(stream) // 2
    stream[middle : middle + 8] = bytes(8)
    put_stream(path, bytes(stream))
    with pytest.raises(InputError, match=DAMAGED) as caught:
        read_volume(tmp_path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_jpeg_2000_stream_with_lost_bytes_is_refused_and_no_decoder_writes_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], share: float
) -> None:
    """OpenJPEG used to tell the terminal "Tile part length size inconsistent with stream length"."""
    path = slice_file(tmp_path, ENCODERS["JPEG 2000"])
    stream = stream_of(path)
    assert has_whole_tiles(stream)
    at = int(share * len(stream)) - 20
    put_stream(path, stream[:at] + stream[at + 12 :])
    with pytest.raises(InputError, match="compressed pixels that are cut off or damaged") as caught:
        read_volume(tmp_path)
    assert path.name in str(caught.value)
    assert capfd.readouterr().err == ""


def test_single_bits_of_jpeg_2000_are_found(tmp_path: Path) -> None:
    path = slice_file(tmp_path, ENCODERS["JPEG 2000"])
    stream, generator = stream_of(path), np.random.default_rng(4)
    wrong = refused = 0
    for _ in range(30):
        at, bit = int(generator.integers(200, len(stream) - 2)), int(generator.integers(8))
        put_stream(path, stream[:at] + bytes([stream[at] ^ (1 << bit)]) + stream[at + 1 :])
        try:
            # changes of one step of HU are left
            wrong += bool(np.abs(read_pixels(path) - HU[4]).max() > 1)
        except InputError:
            refused += 1
    assert wrong <= 1
    assert refused >= 27


def test_nothing_is_said_where_most_blocks_are_off_as_by_the_habit_of_an_encoder(tmp_path: Path) -> None:
    write_series(tmp_path, np.random.default_rng(5).normal(-800.0, 90.0, (3, 512, 512)).astype(np.float32))
    path = sorted(tmp_path.iterdir())[1]
    ENCODERS["JPEG 2000"](path)
    stream = bytearray(stream_of(path))
    assert damaged_blocks(bytes(stream)) == 0
    for at in range(4000, len(stream) - 2000, 4000):
        stream[at] ^= 0x10
    assert damaged_blocks(bytes(stream)) is None


def test_single_bits_of_lossless_jpeg_are_refused_unless_the_code_is_in_step_again(tmp_path: Path) -> None:
    path = slice_file(tmp_path, ENCODERS["JPEG lossless"])
    stream, generator = stream_of(path), np.random.default_rng(4)
    refused = 0
    for _ in range(60):
        at, bit = int(generator.integers(200, len(stream) - 2)), int(generator.integers(8))
        put_stream(path, stream[:at] + bytes([stream[at] ^ (1 << bit)]) + stream[at + 1 :])
        try:
            rows, columns = np.nonzero(read_pixels(path) != HU[4])
            # a code that is in step again shifts the rest of its row, and all rows below if it is in the first column
            assert len(set(rows)) <= 1 or columns[0] == 0
        except InputError:
            refused += 1
    assert refused >= 8


@pytest.mark.parametrize("kind", ["JPEG lossless", "JPEG 2000", "RLE"])
def test_frames_of_an_enhanced_file_are_looked_at_too(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "all.dcm"
    write_enhanced(path, HU)
    ENCODERS[kind](path)
    ds = pydicom.dcmread(path)
    frames = [bytes(get_frame(ds.PixelData, k, number_of_frames=len(HU))) for k in range(len(HU))]
    middle = len(frames[3]) // 2
    frames[3] = frames[3][:middle] + frames[3][middle + 6 :]
    ds.PixelData = encapsulate(frames)
    ds.save_as(path)
    with pytest.raises(InputError, match=DAMAGED):
        read_volume(tmp_path)


def test_zeros_within_rle_that_no_encoder_writes_are_refused(tmp_path: Path) -> None:
    path = slice_file(tmp_path, ENCODERS["RLE"])
    stream = stream_of(path)
    low = int.from_bytes(stream[8:12], "little")  # the low bytes: noise, one by one
    at = next(n for n in range(low, len(stream)) if stream[n] == 0x4F) + 10  # within the 80 pixels of a row
    put_stream(path, stream[:at] + bytes(30) + stream[at + 30 :])
    with pytest.raises(InputError, match=DAMAGED):
        read_volume(tmp_path)


def test_rle_padded_to_an_even_length_is_whole(tmp_path: Path) -> None:
    path = slice_file(tmp_path, ENCODERS["RLE"])
    put_stream(path, stream_of(path) + b"\x80\x80")
    np.testing.assert_array_equal(read_volume(tmp_path).hu, HU)


def test_jpeg_2000_of_other_encoders_is_whole() -> None:
    """Kakadu, JasPer and OpenJPEG end a block's code at slightly different bytes."""
    if importlib.util.find_spec("openjpeg") is None:
        pytest.skip("openjpeg is not installed")
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    found = {}
    for path in sorted(folder.rglob("*.dcm")):
        ds = pydicom.dcmread(path, force=True, specific_tags=["PixelData", "NumberOfFrames"])
        syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
        if syntax is None or not syntax.startswith("1.2.840.10008.1.2.4.9") or "PixelData" not in ds:
            continue
        stream = bytes(get_frame(ds.PixelData, 0, number_of_frames=int(ds.get("NumberOfFrames") or 1)))
        assert has_whole_tiles(stream), path.name
        maker = next((name for name in (b"Kakadu", b"JasPer", b"OpenJPEG") if name in stream[:400]), b"")
        found.setdefault(maker, []).append(damaged_blocks(stream))
    assert {b"Kakadu", b"JasPer", b"OpenJPEG"} <= set(found)
    assert all(blocks in (0, None) for counts in found.values() for blocks in counts)
    assert all(0 in found[maker] for maker in (b"Kakadu", b"JasPer", b"OpenJPEG"))
