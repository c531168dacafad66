"""DICOM series whose pixels are wrong, packed or of another size."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pydicom
from core.dicomseries import chest_slices
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from KernelNormalizationLib.core.errors import InputError

from .case import Case, Either, Refuse
from .dicom_cases import Generator, _case, _one, by_hand


def pixel_length(rng: Generator, folder: Path) -> Case:
    which, change = int(rng.integers(0, 9)), int(rng.choice([-100, -4, -2, 2, 4, 32, 384]))

    def edit(ds: FileDataset) -> None:
        ds.PixelData = ds.PixelData[:change] if change < 0 else ds.PixelData + bytes(change)

    return _case(f"pixels {change:+d} bytes", rng, folder, Refuse(), _one(0, which, edit))


def other_size(rng: Generator, folder: Path) -> Case:
    def change(_: int, ds: FileDataset) -> None:
        ds.Rows, ds.Columns = [(11, 16), (12, 15), (6, 16), (65535, 65535), (0, 16), (24, 16)][choice]

    choice = int(rng.integers(0, 6))
    return _case("rows and columns that are not the pixels'", rng, folder, Refuse(), change)


def photometric(rng: Generator, folder: Path) -> Case:
    choice = int(rng.integers(0, 3))
    value = ["MONOCHROME1", "RGB", "MONOCHROME1"][choice]
    if choice == 0:
        return _case("all MONOCHROME1", rng, folder, None, lambda _, ds: setattr(ds, "PhotometricInterpretation", value))
    edit = _one(0, int(rng.integers(0, 9)), lambda ds: setattr(ds, "PhotometricInterpretation", value))
    return _case(f"one {value}", rng, folder, Refuse(), edit)


def lossy(rng: Generator, folder: Path) -> Case:
    ratio = float(rng.choice([8.0, 20.0]))

    def change(_: int, ds: FileDataset) -> None:
        ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", ratio

    return _case("strongly compressed with loss", rng, folder, Refuse(), change)


def packed(rng: Generator, folder: Path) -> Case:
    rle = bool(rng.integers(2))

    def post(paths: list[Path]) -> None:
        for path in paths:
            ds = pydicom.dcmread(path)
            if rle:
                ds.compress(RLELossless)
            else:
                ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            ds.save_as(path)

    return _case("RLE" if rle else "deflated", rng, folder, None, post=post)


def packed_and_damaged(rng: Generator, folder: Path) -> Case:
    """Bytes lost within a compressed image whose end is whole."""
    syntax = JPEG2000Lossless if find_spec("openjpeg") is not None and rng.integers(2) else RLELossless

    def post(paths: list[Path]) -> None:
        ds = pydicom.dcmread(paths[3])
        ds.compress(syntax, generate_instance_uid=False)
        stream = get_frame(ds.PixelData, 0, number_of_frames=1)
        at = int(len(stream) * rng.uniform(0.5, 0.7))
        ds.PixelData = encapsulate([stream[:at] + bytes(10) + stream[at + 20 :]])
        ds.save_as(paths[3])

    return _case(f"bytes lost in {syntax.name}", rng, folder, Refuse(), post=post, hu=chest_slices(9, 48, 64))


def broken_link(rng: Generator, folder: Path) -> Case:
    def post(paths: list[Path]) -> None:
        path = paths[int(rng.integers(len(paths)))]
        path.unlink()
        path.symlink_to(folder / "gone" / path.name)

    return _case("a link that leads nowhere", rng, folder, Refuse(), post=post)


def lost_decimal_point(rng: Generator, folder: Path) -> Case:
    def change(_: int, ds: FileDataset) -> None:
        ds.PixelSpacing = [70.0, 60.0]

    return _case("spacing without its decimal point", rng, folder, Refuse(), change, hu=chest_slices(9, 48, 64))


def cut_in_a_sequence(rng: Generator, folder: Path) -> Case:
    """A file that ends where the items of a sequence should begin, or that holds them 3,000 deep."""
    deep = bool(rng.integers(2))

    def post(paths: list[Path]) -> None:
        path = paths[int(rng.choice([0, len(paths) - 1, int(rng.integers(len(paths)))]))]
        content = path.read_bytes()
        before, pixels, rest = content.partition(b"\xe0\x7f\x10\x00")
        sequence, item = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        end = 3000 * (sequence + item) + pixels + rest if deep else sequence + item[: int(rng.integers(0, 8))]
        path.write_bytes(before + end)

    return _case("sequences too deep" if deep else "cut off in a sequence", rng, folder, Refuse(), post=post)


def packed_and_cut(rng: Generator, folder: Path) -> Case:
    rle = bool(rng.integers(2))

    def post(paths: list[Path]) -> None:
        ds = pydicom.dcmread(paths[3])
        if rle:
            ds.compress(RLELossless)
        else:
            ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        ds.save_as(paths[3])
        content = paths[3].read_bytes()
        paths[3].write_bytes(content[: int(len(content) * rng.uniform(0.3, 0.98))])

    return _case("compressed and cut off", rng, folder, Refuse(), post=post)


def broken_element(rng: Generator, folder: Path) -> Case:
    """One element whose type, length, place or number no reader can make sense of."""
    rows, pixels, deep = b"\x28\x00\x10\x00US", b"\xe0\x7f\x10\x00", b"\x40\x00\x75\x02SQ\0\0\xff\xff"
    name = str(rng.choice(("odd length", "unknown type", "cut in a length", "foreign fragment", "doubled tag")))

    def post(paths: list[Path]) -> None:
        path = paths[int(rng.choice([0, len(paths) - 1, int(rng.integers(len(paths)))]))]
        if name == "foreign fragment":
            ds = pydicom.dcmread(path)
            ds.compress(RLELossless)
            ds.save_as(path)
        content = path.read_bytes()
        before, mark, rest = content.partition(rows)
        start, _, _ = content.partition(pixels)
        fragment = content.find(b"\x02\0\0\0\x40\0\0\0") - 8
        path.write_bytes(
            {
                "odd length": before + mark + b"\x03\0\x0c\0\0" + rest[4:],
                "unknown type": before + mark[:4] + b"ZZ" + rest,
                "cut in a length": start + deep,
                "foreign fragment": content[:fragment] + b"\x08\0\x16\0" + content[fragment + 4 :],
                "doubled tag": before + mark + b"\2\0\x06\0" + mark + rest,
            }[name]
        )

    return _case(name, rng, folder, Refuse(), post=post)


def counts_that_do_not_fit(rng: Generator, folder: Path) -> Case:
    """Tags that count frames, colours or bits, of which the length of the pixels tells nothing."""
    keyword, value = [("NumberOfFrames", 2), ("SamplesPerPixel", 3), ("BitsStored", 17), ("HighBit", 40)][int(rng.integers(4))]
    which = int(rng.integers(0, 9))
    return _case(f"{keyword} = {value}", rng, folder, Refuse(), _one(0, which, lambda ds: setattr(ds, keyword, value)))


def without_permission(rng: Generator, folder: Path) -> Case:
    """A slice that the user may not read: it is not called damaged."""
    which, usual = int(rng.integers(0, 9)), Path.open
    case = _case("no permission for a slice", rng, folder, Refuse())
    shut = sorted(folder.iterdir())[which]

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *arguments, **options)

    def run() -> Any:
        # a superuser may open everything, so the rights of the file alone do not tell
        with patch.object(Path, "open", opened):
            try:
                return case.run()
            except InputError as error:
                if "permission" not in str(error):
                    raise AssertionError(f"no word of the permission: {error}") from error
                raise

    return Case(case.name, run, Refuse())


def syntax(rng: Generator, folder: Path) -> Case:
    uid = str(rng.choice(("1.2.3.4", "1.2.840.113619.5.2", "", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90", "abc")))

    def post(paths: list[Path]) -> None:
        ds = pydicom.dcmread(paths[2])
        ds.file_meta.TransferSyntaxUID = uid
        if "1.2.4" in uid:
            ds.PixelData = encapsulate([ds.PixelData])
        paths[2].unlink()
        pydicom.dcmwrite(paths[2], ds, implicit_vr=False, little_endian=True, force_encoding=True)

    return _case(f"transfer syntax {uid}", rng, folder, Either(lambda: by_hand(folder)), post=post)
