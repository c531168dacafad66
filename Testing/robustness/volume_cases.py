"""NRRD, NIfTI and MetaImage files with broken headers and bodies."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nrrd
import numpy as np
import SimpleITK as sitk
from core.dicomseries import chest_slices

from KernelNormalizationLib.core.io.reading import read_volume

from .case import Case, Either, Expectation, Maker, Refuse, Truth

SPACING = (1.25, 0.7, 0.6)
SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha")
Generator = np.random.Generator


def _stored(rng: Generator, folder: Path, suffix: str, compressed: bool = False) -> tuple[Path, np.ndarray]:
    hu = chest_slices(int(rng.integers(9, 14)), 12, 16, int(rng.integers(1 << 30)))
    image = sitk.GetImageFromArray(hu.astype(rng.choice([np.int16, np.float32])))
    image.SetSpacing(SPACING[::-1])
    path = folder / f"scan{suffix}"
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path, hu


def _case(name: str, path: Path, expected: Expectation) -> Case:
    return Case(f"volume {name} {path.suffix}", lambda: read_volume(path), expected)


def independent(path: Path) -> Truth:
    """The file read by another library: pynrrd, ITK for MetaImage, or the header of NIfTI by hand."""
    if path.suffix == ".nrrd":
        voxels, header = nrrd.read(str(path), index_order="C")
        return Truth(voxels.astype(float), _lengths(np.asarray(header["space directions"])[::-1]))
    if path.suffix == ".mha":
        image = sitk.ReadImage(str(path))
        x, y, z = image.GetSpacing()
        return Truth(sitk.GetArrayFromImage(image).astype(float), (z, y, x))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    dim, kind = struct.unpack_from("<8h", content, 40), struct.unpack_from("<h", content, 70)[0]
    dtype = {4: "<i2", 16: "<f4"}[kind]
    offset, slope, intercept = (int(struct.unpack_from("<f", content, 108)[0]), *struct.unpack_from("<2f", content, 112))
    sizes = dim[1:4]
    voxels = np.frombuffer(content, dtype, int(np.prod(sizes)), offset).reshape(sizes[::-1]).astype(float)
    i, j, k = (float(v) for v in struct.unpack_from("<3f", content, 80))
    return Truth(voxels * slope + intercept if slope else voxels, (k, j, i))


def _lengths(vectors: np.ndarray) -> tuple[float, float, float]:
    k, j, i = (float(np.linalg.norm(v)) for v in vectors)
    return k, j, i


def valid(rng: Generator, folder: Path) -> Case:
    path, hu = _stored(rng, folder, str(rng.choice(SUFFIXES)), bool(rng.integers(2)))
    return _case("valid", path, Truth(hu, SPACING))


def cut_off(rng: Generator, folder: Path) -> Case:
    path, _ = _stored(rng, folder, str(rng.choice(SUFFIXES)), bool(rng.integers(2)))
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(0, len(content) - 1))])
    return _case("cut off", path, Refuse())


def too_long(rng: Generator, folder: Path) -> Case:
    path, _ = _stored(rng, folder, str(rng.choice((".nrrd", ".nii", ".mha"))))
    path.write_bytes(path.read_bytes() + rng.bytes(int(rng.integers(100, 5000))))
    return _case("too long", path, Refuse())


def flipped_packed(rng: Generator, folder: Path) -> Case:
    path, _ = _stored(rng, folder, str(rng.choice((".nrrd", ".nii.gz", ".mha"))), compressed=True)
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        content[int(rng.integers(len(content) * 2 // 3, len(content) - 9))] ^= int(rng.integers(1, 256))
    path.write_bytes(content)
    return _case("flipped packed bytes", path, Refuse())


def flipped_anywhere(rng: Generator, folder: Path) -> Case:
    path, _ = _stored(rng, folder, str(rng.choice(SUFFIXES)), bool(rng.integers(2)))
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 5))):
        content[int(rng.integers(min(700, len(content))))] ^= int(rng.integers(1, 256))
    path.write_bytes(content)
    return _case("flipped header bytes", path, Either(lambda: independent(path)))


def not_finite(rng: Generator, folder: Path) -> Case:
    bad = float(rng.choice([np.nan, np.inf, -np.inf, 1e300, -1e39]))
    hu = chest_slices().astype(np.float32 if not np.isfinite(bad) else np.float64)
    hu[3, 4, 5] = bad
    path = folder / f"scan{rng.choice(SUFFIXES)}"
    sitk.WriteImage(sitk.GetImageFromArray(hu), str(path))
    return _case("not finite", path, Refuse())


def _nifti(rng: Generator, folder: Path, place: int, form: str, *values: float) -> Path:
    path, _ = _stored(rng, folder, ".nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + form, content, place, *values)
    path.write_bytes(content)
    return path


def nifti_field(rng: Generator, folder: Path) -> Case:
    name, place, form, values = [
        ("vox_offset 0", 108, "f", (0.0,)),
        ("vox_offset 344", 108, "f", (344.0,)),
        ("vox_offset NaN", 108, "f", (np.nan,)),
        ("slope 0 with intercept", 112, "2f", (0.0, -1024.0)),
        ("slope inf", 112, "f", (np.inf,)),
        ("intercept NaN", 116, "f", (np.nan,)),
        ("sform that contradicts", 280, "f", (-6.0,)),
        ("quaternion NaN", 256, "f", (np.nan,)),
        ("magic", 344, "4s", (b"xyz\0",)),
        ("pair", 344, "4s", (b"ni1\0",)),
        ("bitpix", 72, "h", (8,)),
        ("datatype", 70, "h", (128,)),
        ("dimension 9", 40, "h", (9,)),
        ("size -3", 42, "h", (-3,)),
        ("size 30000", 46, "h", (30000,)),
        ("spacing inf", 80, "f", (np.inf,)),
        ("spacing 0", 84, "f", (0.0,)),
        ("sform NaN", 292, "f", (np.nan,)),
        ("size 8 of more", 46, "h", (8,)),
        ("shear", 284, "f", (0.5,)),
    ][int(rng.integers(0, 20))]
    return _case(f"NIfTI {name}", _nifti(rng, folder, place, form, *values), Refuse())


def nifti_rounded(rng: Generator, folder: Path) -> Case:
    """Directions rounded to three digits are still directions."""
    path, hu = _stored(rng, folder, ".nii")
    content = bytearray(path.read_bytes())
    angle = float(rng.uniform(0.01, 0.3))
    c, s = round(float(np.cos(angle)), 3), round(float(np.sin(angle)), 3)
    struct.pack_into("<2h", content, 252, 0, 1)
    struct.pack_into("<12f", content, 280, -0.6 * c, 0.7 * s, 0, 1, -0.6 * s, -0.7 * c, 0, 2, 0, 0, 1.25, 3)
    path.write_bytes(content)
    return _case("NIfTI rounded directions", path, Truth(hu, SPACING))


def _text_header(path: Path, edit: Callable[[str], str], mark: bytes) -> None:
    head, found, body = path.read_bytes().partition(mark)
    before = (head + found).decode("latin-1")
    after = edit(before)
    if after == before:
        raise RuntimeError("the edit changes nothing, so this is no damaged file")
    path.write_bytes(after.encode("latin-1") + body)


def nrrd_header(rng: Generator, folder: Path) -> Case:
    name, old, new = [
        ("no directions", "space directions:", "#"),
        ("sheared", "(0,0.69999999999999996,0)", "(0.4,0.7,0)"),
        ("NaN direction", "(0,0,1.25)", "(0,0,nan)"),
        ("zero direction", "(0,0,1.25)", "(0,0,0)"),
        ("inf direction", "(0,0,1.25)", "(0,0,inf)"),
        ("sizes", "sizes: 16 12", "sizes: 16 13"),
        ("negative", "sizes: 16", "sizes: -16"),
        ("huge", "sizes: 16 12", "sizes: 2000 2000"),
        ("no type", "type:", "#"),
        ("dimension", "dimension: 3", "dimension: 2"),
        ("encoding", "encoding: raw", "encoding: zip"),
        ("endian", "endian: little", "#"),
        ("magic", "NRRD", "NRXD"),
        ("space", "left-posterior-superior", "scanner-xyz-time"),
        ("two vectors", "(0,0,1.25)", ""),
        ("text", "(0,0,1.25)", "(a,b,c)"),
        ("origin NaN", "space origin: (0,", "space origin: (nan,"),
        ("centimetres", "kinds:", 'space units: "cm" "cm" "cm"\nkinds:'),
        ("overflow", "sizes: 16", "sizes: 99999999999999999999"),
        ("type block", "type: ", "type: block"),
    ][int(rng.integers(0, 20))]
    path, _ = _stored(rng, folder, ".nrrd")
    _text_header(path, lambda text: text.replace(old, new), b"\n\n")
    return _case(f"NRRD {name}", path, Refuse())


def nrrd_promises_much(rng: Generator, folder: Path) -> Case:
    path = folder / "scan.nrrd"
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 2000 2000 500\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nendian: little\nencoding: gzip\n\n"
    )
    path.write_bytes(header.encode() + gzip.compress(rng.bytes(500)))
    return _case("NRRD promises 4 GB", path, Refuse())


def mha_header(rng: Generator, folder: Path) -> Case:
    name, old, new = [
        ("no spacing", "ElementSpacing", "Comment"),
        ("sheared", "TransformMatrix = 1 0 0", "TransformMatrix = 1 0.5 0"),
        ("scaled", "TransformMatrix = 1", "TransformMatrix = 2"),
        ("NaN spacing", "ElementSpacing = 0.59999999999999998", "ElementSpacing = nan"),
        ("zero spacing", "ElementSpacing = 0.59999999999999998", "ElementSpacing = 0"),
        ("sizes", "DimSize = 16", "DimSize = 17"),
        ("huge", "DimSize = 16 12", "DimSize = 20000 20000"),
        ("type", "ElementType = MET_", "ElementType = X_"),
        ("dimensions", "NDims = 3", "NDims = 5"),
        ("no data", "ElementDataFile = LOCAL", "ElementDataFile = missing.raw"),
        ("list", "ElementDataFile = LOCAL", "ElementDataFile = LIST"),
        ("compressed", "CompressedData = False", "CompressedData = True"),
        ("channels", "ElementType", "ElementNumberOfChannels = 3\nElementType"),
        ("offset NaN", "Offset = 0", "Offset = nan"),
        ("header size", "ElementDataFile", "HeaderSize = 500\nElementDataFile"),
        ("text", "DimSize = 16", "DimSize = abc"),
    ][int(rng.integers(0, 16))]
    path, _ = _stored(rng, folder, ".mha")
    _text_header(path, lambda text: text.replace(old, new), b"LOCAL\n")
    return _case(f"MetaImage {name}", path, Refuse())


def detached(rng: Generator, folder: Path) -> Case:
    suffix = str(rng.choice((".nhdr", ".mhd")))
    path, hu = _stored(rng, folder, suffix)
    data = next(p for p in folder.iterdir() if p.suffix in (".raw", ".gz"))
    choice = int(rng.integers(0, 4))
    if choice == 0:
        return _case("detached, valid", path, Truth(hu, SPACING))
    if choice == 1:
        data.unlink()
    elif choice == 2:
        data.write_bytes(data.read_bytes()[:-3])
    else:
        data.unlink()
        os.mkfifo(data)
    return _case("detached, data damaged", path, Refuse())


def other_things(rng: Generator, folder: Path) -> Case:
    suffix = str(rng.choice(SUFFIXES))
    path = folder / f"scan{suffix}"
    choice = int(rng.integers(0, 6))
    if choice == 0:
        os.mkfifo(path)
    elif choice == 1:
        path.mkdir()
    elif choice == 2:
        path.write_bytes(rng.bytes(int(rng.integers(0, 3000))))
    elif choice == 3:
        path.symlink_to(folder / "nowhere")
    elif choice == 4:
        path.write_bytes(gzip.compress(bytes(50_000_000)) if suffix == ".nii.gz" else zlib.compress(bytes(10_000_000)))
    else:
        voxels = chest_slices(10)[:, : int(rng.choice([1, 3]))]
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    return _case("something else", path, Refuse())


def odd_name(rng: Generator, folder: Path) -> Case:
    path, hu = _stored(rng, folder, str(rng.choice((".nrrd", ".nii", ".mha"))))
    odd = [b"\xff\xfe\xe4", "胸部".encode(), b"a\x1b[31m", b"two words $x$", b"-n"][int(rng.integers(0, 5))]
    target = folder / (os.fsdecode(odd) + path.suffix)
    path.rename(target)

    def run() -> object:
        volume = read_volume(target)
        if "\x1b" in volume.name:
            raise AssertionError("a control character in the volume's name")
        volume.name.encode("utf-8")
        return volume

    return Case("volume odd name", run, Truth(hu, SPACING))


MAKERS: tuple[Maker, ...] = (
    valid,
    cut_off,
    too_long,
    flipped_packed,
    flipped_anywhere,
    not_finite,
    nifti_field,
    nifti_field,
    nifti_rounded,
    nrrd_header,
    nrrd_header,
    nrrd_promises_much,
    mha_header,
    mha_header,
    detached,
    other_things,
    odd_name,
    flipped_anywhere,
    cut_off,
)
