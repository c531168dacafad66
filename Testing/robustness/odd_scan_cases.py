"""Series and volume files as other programs write them: odd but right, or wrong in a way that only shows in the values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset
from scipy import ndimage

from .case import Case, Maker, Refuse
from .dicom_cases import Change, _case, _one
from .volume_cases import _case as _volume_case
from .volume_cases import _stored, _text_header

Generator = np.random.Generator


def without_preamble(rng: Generator, folder: Path) -> Case:
    implicit = bool(rng.integers(2))

    def post(paths: list[Path]) -> None:
        for path in paths:
            plain = pydicom.Dataset(pydicom.dcmread(path))
            plain.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)

    return _case("no preamble", rng, folder, post=post)


def number_beyond_reason(rng: Generator, folder: Path) -> Case:
    keyword, value = [
        ("RescaleSlope", "-1"),
        ("RescaleSlope", "1_0"),
        ("RescaleIntercept", "1e30"),
        ("ImagePositionPatient", ["0", "0", "1e300"]),
        ("PixelSpacing", ["1e-6", "1e-6"]),
    ][int(rng.integers(5))]
    everywhere = keyword == "PixelSpacing"
    change: Change = lambda _, ds: setattr(ds, keyword, value)  # noqa: E731
    one = _one(0, int(rng.integers(0, 9)), lambda ds: setattr(ds, keyword, value))
    return _case(f"{keyword} = {value}", rng, folder, Refuse(), change if everywhere else one)


def lost_intercept(rng: Generator, folder: Path) -> Case:
    which = int(rng.integers(0, 9))
    return _case("an intercept lost", rng, folder, Refuse(), _one(0, which, lambda ds: setattr(ds, "RescaleIntercept", "0")))


def map_of_something(rng: Generator, folder: Path) -> Case:
    kind = str(rng.choice(("MGML", "Z_EFF", "ED", "EDW", "PCT", "OD")))
    return _case(f"RescaleType {kind}", rng, folder, Refuse(), lambda _, ds: setattr(ds, "RescaleType", kind))


def swapped_bytes(rng: Generator, folder: Path) -> Case:
    def swap(ds: FileDataset) -> None:
        ds.BitsStored, ds.HighBit = 12, 11
        ds.PixelData = np.frombuffer(ds.PixelData, np.uint16).byteswap().tobytes()

    return _case("bytes swapped in a slice", rng, folder, Refuse(), _one(0, int(rng.integers(0, 9)), swap))


def never_transferred(rng: Generator, folder: Path) -> Case:
    def blank(ds: FileDataset) -> None:
        ds.PixelData = bytes(len(ds.PixelData))

    return _case("a slice of zeros", rng, folder, Refuse(), _one(0, int(rng.integers(1, 8)), blank))


def other_origin(rng: Generator, folder: Path) -> Case:
    keyword, first, second = [
        ("Manufacturer", "SIEMENS", "Philips"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "SECONDARY", "MPR"]),
    ][int(rng.integers(2))]
    border = int(rng.integers(2, 8))
    change: Change = lambda k, ds: setattr(ds, keyword, first if k < border else second)  # noqa: E731
    return _case(f"mixed {keyword}", rng, folder, Refuse(), change)


def uneven_distances(rng: Generator, folder: Path) -> Case:
    power = float(rng.uniform(1.3, 2.0))
    change: Change = lambda k, ds: setattr(ds, "ImagePositionPatient", ["0", "0", f"{k**power:.4f}"])  # noqa: E731
    return _case("uneven distances", rng, folder, Refuse(), change)


def metaimage_of_another_kind(rng: Generator, folder: Path) -> Case:
    path, _ = _stored(rng, folder, ".mha")
    old, new = [
        ("ObjectType = Image", "ObjectType = Mesh"),
        ("ElementType", "ElementToIntensityFunctionSlope = 2\nElementType"),
        ("ElementType", "ElementToIntensityFunctionOffset = -1024\nElementType"),
        ("ElementSpacing = ", "ElementSpacing = 1e-6 1e-6 1e-6\nOldSpacing = "),
    ][int(rng.integers(4))]
    _text_header(path, lambda text: text.replace(old, new, 1), b"LOCAL\n")
    return _volume_case(new.split("\n")[0], path, Refuse())


def slices_of_one_value(rng: Generator, folder: Path) -> Case:
    path, hu = _stored(rng, folder, ".mha")
    content = bytearray(path.read_bytes())
    voxels = len(content) - content.index(b"LOCAL\n") - len(b"LOCAL\n")
    # a download that broke off and was filled up
    tail = int(rng.integers(1, 4)) * (voxels // len(hu))
    content[-tail:] = bytes(tail)
    path.write_bytes(content)
    return _volume_case("zeros at the end", path, Refuse())


def blank_rows(rng: Generator, folder: Path) -> Case:
    path, hu = _stored(rng, folder, str(rng.choice((".nrrd", ".nii", ".mha"))))
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image)
    voxels[int(rng.integers(1, len(hu) - 1)), : int(rng.integers(2, 5))] = rng.choice([0, -1024])
    damaged = sitk.GetImageFromArray(voxels)
    damaged.CopyInformation(image)
    sitk.WriteImage(damaged, str(path))
    return _volume_case("blank rows", path, Refuse())


def kernels_without_a_name(rng: Generator, folder: Path) -> Case:
    """Half of the slices, or every second one, smooth; no tag tells of a kernel."""
    hu = np.full((12, 96, 96), -1000.0)
    hu[:, 16:-16, 8:-8] = 40.0
    hu += rng.normal(0.0, float(rng.uniform(40.0, 120.0)), hu.shape)
    k = np.arange(len(hu))
    smooth = k % 2 == 1 if rng.integers(2) else k >= int(rng.integers(3, 10))
    hu[smooth] = ndimage.gaussian_filter(hu[smooth], (0.0, 1.2, 1.2))
    stored = np.clip(np.rint(hu), -1024, 3000).astype(np.int16)
    return _case("kernels mixed, untold", rng, folder, Refuse(), lambda _, ds: delattr(ds, "ConvolutionKernel"), hu=stored)


DICOM_MAKERS: tuple[Maker, ...] = (
    without_preamble,
    number_beyond_reason,
    lost_intercept,
    map_of_something,
    swapped_bytes,
    never_transferred,
    other_origin,
    uneven_distances,
    kernels_without_a_name,
)
VOLUME_MAKERS: tuple[Maker, ...] = (metaimage_of_another_kind, slices_of_one_value, blank_rows)
