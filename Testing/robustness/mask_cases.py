"""Lung masks from files: label maps and Slicer segmentations, damaged or odd."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.lungs.slicer_segmentation import write_segmentation
from EmphysemaQuantLib.core.lungs.supplied_mask import judge_supplied
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from .case import Case, Expectation, Maker, Refuse, Truth

SHAPE, SPACING = (24, 64, 80), (8.0, 4.0, 4.0)
Generator = np.random.Generator


@cache
def chest() -> tuple[CTVolume, np.ndarray]:
    """A body with two lungs, and their labels: 1 right (at low column numbers), 2 left."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:20, 18:46, 14:34], labels[4:20, 18:46, 46:66] = 1, 2
    hu = np.full(SHAPE, -1000.0, np.float32)
    hu[:, 8:56, 6:74] = 40.0
    noise = np.random.default_rng(1).normal(0.0, 30.0, SHAPE).astype(np.float32)
    hu = np.maximum(np.where(labels > 0, np.float32(-850.0), hu) + noise, -1024.0).astype(np.float32)
    return CTVolume(hu, Geometry(SPACING)), labels


def _image(labels: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(SPACING[::-1])
    return image


def _case(name: str, path: Path, expected: Expectation) -> Case:
    return Case(f"mask {name}", lambda: read_mask(chest()[0], path).labels, expected)


def _written(rng: Generator, folder: Path, suffixes: tuple[str, ...] = (".nrrd", ".nii", ".nii.gz", ".mha")) -> Path:
    path = folder / f"mask{rng.choice(suffixes)}"
    # numbers of the Chest Imaging Platform, which no other tool uses: 2 right, 3 left
    sitk.WriteImage(_image(np.where(chest()[1] > 0, chest()[1] + 1, 0).astype(np.uint8)), str(path), useCompression=True)
    return path


def valid(rng: Generator, folder: Path) -> Case:
    return _case("valid", _written(rng, folder), Truth(chest()[1]))


def cut_off(rng: Generator, folder: Path) -> Case:
    path = _written(rng, folder)
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(0, len(content) - 1))])
    return _case("cut off", path, Refuse())


def cut_plain_nifti(rng: Generator, folder: Path) -> Case:
    path = folder / "mask.nii"
    sitk.WriteImage(_image((chest()[1] + (chest()[1] > 0)).astype(np.uint8)), str(path))
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(400, len(content) - 1))])
    return _case("NIfTI cut off", path, Refuse())


def nan_or_fraction(rng: Generator, folder: Path) -> Case:
    labels = np.where(chest()[1] > 0, chest()[1] + 1, 0).astype(np.float32)
    labels[10, 30, 20] = rng.choice([np.nan, np.inf, 2.4, 1e12])
    path = folder / f"mask{rng.choice(('.nrrd', '.nii', '.mha'))}"
    sitk.WriteImage(_image(labels), str(path))
    return _case("not whole numbers", path, Refuse())


def other_grid(rng: Generator, folder: Path) -> Case:
    image = _image((chest()[1] + (chest()[1] > 0)).astype(np.uint8))
    choice = int(rng.integers(0, 3))
    if choice == 0:
        image.SetSpacing((4.0, 4.0, 9.0))
    elif choice == 1:
        image.SetOrigin((30.0, 0.0, 0.0))
    else:
        image = image[:, :, 1:]
    path = folder / "mask.nrrd"
    sitk.WriteImage(image, str(path))
    return _case("another grid", path, Refuse())


def nifti_field(rng: Generator, folder: Path) -> Case:
    place, form, value = [(108, "f", 0.0), (280, "f", -9.0), (344, "4s", b"abc\0"), (84, "f", np.nan)][int(rng.integers(0, 4))]
    path = folder / "mask.nii"
    sitk.WriteImage(_image((chest()[1] + (chest()[1] > 0)).astype(np.uint8)), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + str(form), content, place, value)
    path.write_bytes(content)
    return _case("NIfTI header", path, Refuse())


def _segmentation(folder: Path) -> Path:
    volume, labels = chest()
    path = folder / "lungs.seg.nrrd"
    mask = LungMask(labels, np.zeros(SHAPE, bool), judge_supplied(volume, labels))
    write_segmentation(path, volume.geometry, mask, np.zeros(SHAPE, bool))
    return path


def segmentation(rng: Generator, folder: Path) -> Case:
    edits: list[tuple[str, Callable[[str], str]]] = [
        ("layer out of range", lambda t: t.replace("Segment0_Layer:=0", "Segment0_Layer:=9")),
        ("negative layer", lambda t: t.replace("Segment0_Layer:=0", "Segment0_Layer:=-1")),
        ("label no number", lambda t: t.replace("Segment0_LabelValue:=2", "Segment0_LabelValue:=left")),
        ("label below zero", lambda t: t.replace("Segment0_LabelValue:=2", "Segment0_LabelValue:=-2")),
        ("one label for both", lambda t: t.replace("Segment0_LabelValue:=2", "Segment0_LabelValue:=1")),
        ("zero directions", lambda t: t.replace("(4.0,0.0,0.0)", "(0,0,0)").replace("(4,0,0)", "(0,0,0)")),
        ("no origin", lambda t: t.replace("space origin:", "#")),
        ("no directions", lambda t: t.replace("space directions:", "#")),
        ("RAS by mistake", lambda t: t.replace("left-posterior-superior", "right-anterior-superior")),
        ("no names", lambda t: t.replace("_Name:=", "_Title:=")),
        ("sizes", lambda t: t.replace("sizes: 2 ", "sizes: 3 ")),
        ("layer no number", lambda t: t.replace("Segment1_Layer:=0", "Segment1_Layer:=x")),
    ]
    name, edit = edits[int(rng.integers(len(edits)))]
    path = _segmentation(folder)
    head, mark, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(edit((head + mark).decode()).encode() + body)
    return _case(f"segmentation {name}", path, Refuse())


def segmentation_whole(rng: Generator, folder: Path) -> Case:
    path = _segmentation(folder)
    choice = int(rng.integers(0, 4))
    if choice == 0:
        return _case("segmentation, valid", path, Truth(chest()[1]))
    content = path.read_bytes()
    if choice == 1:
        path.write_bytes(b"")
    elif choice == 2:
        path.write_bytes(content[: int(rng.integers(1, len(content) - 1))])
    else:
        head, mark, _ = content.partition(b"\n\n")
        path.write_bytes(head + mark + gzip.compress(bytes(2 * int(np.prod(SHAPE)))))
    return _case("segmentation damaged or empty", path, Refuse())


MAKERS: tuple[Maker, ...] = (
    valid,
    cut_off,
    cut_plain_nifti,
    nan_or_fraction,
    other_grid,
    nifti_field,
    segmentation,
    segmentation,
    segmentation_whole,
)
