"""DICOM series with one thing wrong or odd: values, bytes, pixels, places, mixtures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from core.dicomseries import chest_slices, write_series
from pydicom.dataset import FileDataset

from KernelNormalizationLib.core.io.reading import read_volume

from .case import Case, Either, Expectation, Refuse, Truth

STEP, PIXEL = 1.25, (0.7, 0.6)
Change = Callable[[int, FileDataset], None]
Post = Callable[[Path], None]
Generator = np.random.Generator


def _hu(rng: Generator) -> np.ndarray:
    return chest_slices(int(rng.integers(9, 14)), 12, 16, int(rng.integers(1 << 30)))


def _case(
    name: str,
    rng: Generator,
    folder: Path,
    expected: Expectation | None = None,
    change: Change | None = None,
    post: Callable[[list[Path]], None] | None = None,
    hu: np.ndarray | None = None,
) -> Case:
    """A series with ``change`` made to its data sets and ``post`` to its files; valid unless ``expected`` says otherwise."""
    voxels = _hu(rng) if hu is None else hu
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(folder, voxels, change=change)
        if post is not None:
            post(sorted(folder.iterdir()))
    truth = expected or Truth(voxels, (STEP, *PIXEL))
    return Case(f"dicom {name}", lambda: read_volume(folder), truth)


def by_hand(folder: Path) -> Truth:
    """The series read file by file with pydicom and numpy, sorted by position; any file that fails fails it."""
    images: list[tuple[float, np.ndarray]] = []
    for path in sorted(folder.iterdir()):
        ds = pydicom.dcmread(path)
        bits = int(ds.BitsAllocated) // 8
        count = int(ds.Rows) * int(ds.Columns)
        content = ds.PixelData
        if len(content) not in (count * bits, count * bits + 1):
            raise ValueError("length of pixels")
        kind = "i" if ds.PixelRepresentation else "u"
        stored = np.frombuffer(content[: count * bits], f"<{kind}{bits}").reshape(int(ds.Rows), int(ds.Columns))
        row, column = np.reshape([float(v) for v in ds.ImageOrientationPatient], (2, 3))
        place = float(np.dot(np.cross(row, column), [float(v) for v in ds.ImagePositionPatient]))
        images.append((place, stored.astype(float) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)))
    images.sort(key=lambda item: item[0])
    return Truth(np.array([image for _, image in images]))


def _one(k: int, which: int, edit: Callable[[FileDataset], None]) -> Change:
    del k
    return lambda n, ds: edit(ds) if n == which else None


BAD_NUMBERS = ("abc", "REMOVED", "1,5", "nan", "inf", "-inf", "1e999", "1e400", "--1", "1\\2", "0x10", "１")
NEEDED = ("RescaleSlope", "RescaleIntercept")
NOT_NEEDED = ("SliceThickness", "KVP")


def _raw(ds: FileDataset, keyword: str, text: str) -> None:
    """Store a text that pydicom would not let through in a numeric tag."""
    tag = pydicom.tag.Tag(keyword)
    content = text.encode("utf-8")
    element = pydicom.dataelem.RawDataElement(
        tag,
        pydicom.datadict.dictionary_VR(tag),
        len(content) + len(content) % 2,
        content + b" " * (len(content) % 2),
        0,
        False,
        True,
    )
    ds[tag] = element


def bad_number_needed(rng: Generator, folder: Path) -> Case:
    keyword, text = str(rng.choice(NEEDED)), str(rng.choice(BAD_NUMBERS))
    which = int(rng.integers(0, 9))
    return _case(f"{keyword} = {text}", rng, folder, Refuse(), _one(0, which, lambda ds: _raw(ds, keyword, text)))


def bad_number_not_needed(rng: Generator, folder: Path) -> Case:
    keyword, text = str(rng.choice(NOT_NEEDED)), str(rng.choice(("REMOVED", "3,000000", "", "unknown", "1\\2")))
    return _case(f"{keyword} = {text}", rng, folder, None, lambda _, ds: _raw(ds, keyword, text))


def bad_place(rng: Generator, folder: Path) -> Case:
    keyword = str(rng.choice(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")))
    count = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}[keyword]
    bad = str(rng.choice(("nan", "inf", "-inf", "abc", "0,7", "REMOVED", "1e400")))
    parts = {
        "ImagePositionPatient": ["0"] * 3,
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "PixelSpacing": ["0.7", "0.6"],
    }[keyword]
    choice = int(rng.integers(0, 4))
    if choice == 0:
        parts = parts[:-1]
    elif choice == 1:
        parts = [*parts, "1"]
    else:
        parts[int(rng.integers(0, count))] = bad
    which = int(rng.integers(0, 9))
    text = "\\".join(parts)
    return _case(f"{keyword} = {text}", rng, folder, Refuse(), _one(0, which, lambda ds: _raw(ds, keyword, text)))


def missing_tag(rng: Generator, folder: Path) -> Case:
    keyword = str(
        rng.choice(
            (
                "Rows",
                "Columns",
                "RescaleSlope",
                "RescaleIntercept",
                "ImagePositionPatient",
                "ImageOrientationPatient",
                "PixelSpacing",
                "PixelData",
                "BitsAllocated",
                "PixelRepresentation",
                "Modality",
            )
        )
    )
    which = int(rng.integers(0, 9))
    return _case(f"without {keyword}", rng, folder, Refuse(), _one(0, which, lambda ds: delattr(ds, keyword)))


def missing_fact(rng: Generator, folder: Path) -> Case:
    keyword = str(
        rng.choice(
            (
                "SliceThickness",
                "KVP",
                "ConvolutionKernel",
                "Manufacturer",
                "ImageType",
                "StudyInstanceUID",
                "SeriesNumber",
                "BodyPartExamined",
                "FrameOfReferenceUID",
                "PatientID",
            )
        )
    )
    return _case(f"without {keyword}", rng, folder, None, lambda _, ds: delattr(ds, keyword))


def wrong_type(rng: Generator, folder: Path) -> Case:
    keyword, vr, content = [
        ("ConvolutionKernel", "FD", np.float64(70).tobytes()),
        ("Columns", "US", np.array([16, 16], "<u2").tobytes()),
        ("Rows", "FD", np.float64(12.5).tobytes()),
        ("SamplesPerPixel", "LO", b"abc "),
        ("NumberOfFrames", "IS", b"x "),
        ("PixelPaddingValue", "US", np.array([1, 2], "<u2").tobytes()),
        ("BitsAllocated", "US", np.array([12], "<u2").tobytes()),
        ("PixelRepresentation", "US", np.array([7], "<u2").tobytes()),
        ("SliceThickness", "FD", np.float64(np.nan).tobytes()),
        ("Modality", "US", b"CT"),
        ("ImageOrientationPatient", "LO", b"AXIAL "),
        ("KVP", "SQ", b""),
        ("Columns", "US", b""),
        ("BitsStored", "US", np.array([40], "<u2").tobytes()),
    ][int(rng.integers(0, 14))]
    which = int(rng.integers(0, 9))

    def edit(ds: FileDataset) -> None:
        tag = pydicom.tag.Tag(keyword)
        if vr == "SQ":
            ds.add_new(tag, "SQ", [])
        else:
            ds[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(content), content, 0, False, True)

    return _case(f"{keyword} as {vr}", rng, folder, Either(lambda: by_hand(folder)), _one(0, which, edit))


def rescale_varies(rng: Generator, folder: Path) -> Case:
    voxels = _hu(rng)
    slopes = rng.choice([0.5, 1.0, 1.25, 1.1], len(voxels))
    intercepts = rng.choice([-1024.0, -1000.5, -1023.25], len(voxels))

    def change(k: int, ds: FileDataset) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = float(slopes[k]), float(intercepts[k])

    stored = voxels.astype(float) + 1024
    expected = stored * slopes[:, None, None] + intercepts[:, None, None]
    return _case("rescale varies", rng, folder, Truth(expected, (STEP, *PIXEL)), change, hu=voxels)


def cut_file(rng: Generator, folder: Path) -> Case:
    def post(paths: list[Path]) -> None:
        path = paths[int(rng.choice([0, len(paths) - 1, int(rng.integers(len(paths)))]))]
        content = path.read_bytes()
        path.write_bytes(content[: int(rng.integers(0, len(content) - 1))])

    return _case("one file cut off", rng, folder, Refuse(), post=post)


def damaged_start(rng: Generator, folder: Path) -> Case:
    def post(paths: list[Path]) -> None:
        path = paths[int(rng.choice([0, len(paths) - 1]))]
        content = bytearray(path.read_bytes())
        start, length = int(rng.integers(0, 200)), int(rng.integers(20, 400))
        content[start : start + length] = rng.bytes(length)
        path.write_bytes(content)

    return _case("damaged beginning", rng, folder, Either(lambda: by_hand(folder)), post=post)


def flipped_bytes(rng: Generator, folder: Path) -> Case:
    def post(paths: list[Path]) -> None:
        path = paths[int(rng.integers(len(paths)))]
        content = bytearray(path.read_bytes())
        for _ in range(int(rng.integers(1, 12))):
            content[int(rng.integers(len(content)))] ^= int(rng.integers(1, 256))
        path.write_bytes(content)

    return _case("flipped bytes", rng, folder, Either(lambda: by_hand(folder)), post=post)


def moved_slice(rng: Generator, folder: Path) -> Case:
    which, axis = int(rng.integers(1, 8)), int(rng.integers(0, 2))
    shift = float(rng.choice([0.8, 5.0, -12.0]))

    def edit(ds: FileDataset) -> None:
        place = [float(v) for v in ds.ImagePositionPatient]
        place[axis] += shift
        ds.ImagePositionPatient = place

    return _case("a slice moved sideways", rng, folder, Refuse(), _one(0, which, edit))


def step_changes(rng: Generator, folder: Path) -> Case:
    def change(k: int, ds: FileDataset) -> None:
        ds.ImagePositionPatient = [0, 0, 3 * min(k, 4) + 5 * max(k - 4, 0)]

    return _case("step changes half-way", rng, folder, Refuse(), change)


def mixture(rng: Generator, folder: Path) -> Case:
    keyword, first, second = [
        ("ConvolutionKernel", "B70f", "B20f"),
        ("StudyInstanceUID", "1.2.3", "1.2.4"),
        ("FrameOfReferenceUID", "1.2.5", "1.2.6"),
        ("PatientID", "A", "B"),
        ("SliceThickness", 1.5, 5.0),
        ("KVP", 120, 80),
        ("Exposure", 20, 200),
        ("Modality", "CT", "MR"),
        ("PixelSpacing", [0.7, 0.6], [0.8, 0.6]),
    ][int(rng.integers(0, 9))]
    border = int(rng.integers(2, 8))
    change: Change = lambda k, ds: setattr(ds, keyword, first if k < border else second)  # noqa: E731
    return _case(f"mixed {keyword}", rng, folder, Refuse(), change)


def modulated_current(rng: Generator, folder: Path) -> Case:
    return _case("tube current modulation", rng, folder, None, lambda k, ds: setattr(ds, "Exposure", 100 + 9 * k))


def odd_files_beside(rng: Generator, folder: Path) -> Case:
    def post(paths: list[Path]) -> None:
        (folder / ".DS_Store").write_bytes(rng.bytes(300))
        (folder / "._image0003.dcm").write_bytes(rng.bytes(200))
        (folder / "Thumbs.db").write_bytes(rng.bytes(100))
        (folder / "report.pdf").write_bytes(b"%PDF" + rng.bytes(100))
        os.mkfifo(folder / "pipe.dcm")
        del paths

    return _case("other files beside", rng, folder, None, post=post)


def hostile_text(rng: Generator, folder: Path) -> Case:
    keyword = str(
        rng.choice(("ConvolutionKernel", "Manufacturer", "ManufacturerModelName", "SeriesDescription", "BodyPartExamined"))
    )
    text = str(
        rng.choice(("\x1b[2J\x1b[31m", "$\\frac{1}{0}$", "<script>x</script>", "=1+1", "株式会社", "a\x00b", "x" * 5000))
    )

    def run() -> Any:
        volume = read_volume(folder)
        shown = repr(volume.acquisition)
        if "\x1b" in shown or "\\x1b" in shown or "\\x00" in shown or len(shown) > 4000:
            raise AssertionError("control characters or endless text in the acquisition")
        return volume

    case = _case(f"hostile {keyword}", rng, folder, None, lambda _, ds: _raw(ds, keyword, text))
    return Case(case.name, run, case.expected)


def tiny(rng: Generator, folder: Path) -> Case:
    rows, columns = [(1, 16), (3, 16), (12, 1), (1, 1)][int(rng.integers(0, 4))]
    return _case("one or few rows", rng, folder, Refuse(), hu=chest_slices(10, 12, 16)[:, :rows, :columns])


def valid(rng: Generator, folder: Path) -> Case:
    return _case("valid", rng, folder)
