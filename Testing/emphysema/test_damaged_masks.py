"""Masks from files that are damaged or odd: refused with the value, never used by mistake."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from EmphysemaQuantLib.core.lungs.quality_verdict import require_usable
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.lungs.slicer_segmentation import write_segmentation
from EmphysemaQuantLib.core.lungs.supplied_mask import judge_supplied
from KernelNormalizationLib.core.errors import InputError, LungNotFoundError
from KernelNormalizationLib.core.volume import CTVolume, Geometry

SHAPE, SPACING = (16, 48, 60), (8.0, 5.0, 5.0)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """1 right, 2 left."""
    found = np.zeros(SHAPE, np.uint8)
    found[3:13, 14:34, 10:26], found[3:13, 14:34, 34:50] = 1, 2
    return found


@pytest.fixture(scope="module")
def volume(labels: np.ndarray) -> CTVolume:
    hu = np.where(labels > 0, -850.0, 40.0) + np.random.default_rng(1).normal(0.0, 20.0, SHAPE)
    return CTVolume(hu.astype(np.float32), Geometry(SPACING))


def stored(path: Path, labels: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(SPACING[::-1])
    sitk.WriteImage(image, str(path))
    return path


def numbered(labels: np.ndarray) -> np.ndarray:
    """As the Chest Imaging Platform does: 2 right, 3 left."""
    return np.where(labels > 0, labels + 1, 0).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_a_whole_mask_is_read(volume: CTVolume, labels: np.ndarray, tmp_path: Path, suffix: str) -> None:
    found = read_mask(volume, stored(tmp_path / f"mask{suffix}", numbered(labels)))
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
@pytest.mark.parametrize("share", [0.4, 0.99])
def test_a_mask_that_was_cut_off(volume: CTVolume, labels: np.ndarray, tmp_path: Path, suffix: str, share: float) -> None:
    path = stored(tmp_path / f"mask{suffix}", numbered(labels))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"mask\."):
        read_mask(volume, path)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.4, 1e12])
def test_label_numbers_that_are_none(volume: CTVolume, labels: np.ndarray, tmp_path: Path, bad: float, suffix: str) -> None:
    numbers = numbered(labels).astype(np.float32)
    numbers[8, 20, 15] = bad
    with pytest.raises(InputError, match=r"1 voxel\(s\) that are no label number"):
        read_mask(volume, stored(tmp_path / f"mask{suffix}", numbers))


def test_a_nifti_mask_is_checked_as_volumes_are(volume: CTVolume, labels: np.ndarray, tmp_path: Path) -> None:
    path = stored(tmp_path / "mask.nii", numbered(labels))
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 108, 0.0)
    path.write_bytes(content)
    with pytest.raises(InputError, match="begin at byte 0"):
        read_mask(volume, path)


class TestSegmentations:
    @pytest.fixture
    def path(self, volume: CTVolume, labels: np.ndarray, tmp_path: Path) -> Path:
        path = tmp_path / "lungs.seg.nrrd"
        mask = LungMask(labels, np.zeros(SHAPE, bool), judge_supplied(volume, labels))
        write_segmentation(path, volume.geometry, mask, np.zeros(SHAPE, bool))
        return path

    def test_a_whole_one_is_read(self, volume: CTVolume, labels: np.ndarray, path: Path) -> None:
        np.testing.assert_array_equal(read_mask(volume, path).labels, labels)

    @pytest.mark.parametrize(
        ("edit", "words"),
        [
            (lambda t: t.replace("Segment0_Layer:=0", "Segment0_Layer:=9"), "layer 9, but has 2"),
            (lambda t: t.replace("Segment0_Layer:=0", "Segment0_Layer:=-1"), "layer -1, but has 2"),
            (lambda t: t.replace("Segment0_LabelValue:=2", "Segment0_LabelValue:=left"), "label “left”"),
            (lambda t: t.replace("space origin:", "#"), "states no placement"),
            (lambda t: t.replace("space directions:", "#"), "states no placement"),
            (lambda t: t.replace("(5.0,0.0,0.0)", "(0,0,0)").replace("(5,0,0)", "(0,0,0)"), "must be positive"),
            (lambda t: t.replace("_Name:=", "_Title:="), "has no segment “right lung”"),
        ],
    )
    def test_a_damaged_header_is_named(self, volume: CTVolume, path: Path, edit: Callable[[str], str], words: str) -> None:
        head, mark, body = path.read_bytes().partition(b"\n\n")
        changed = edit((head + mark).decode())
        assert changed != (head + mark).decode()
        path.write_bytes(changed.encode() + body)
        with pytest.raises(InputError) as caught:
            read_mask(volume, path)
        assert words in str(caught.value)

    def test_an_empty_file(self, volume: CTVolume, path: Path) -> None:
        path.write_bytes(b"")
        with pytest.raises(InputError, match="does not begin like a NRRD file"):
            read_mask(volume, path)

    def test_lungs_without_a_voxel(self, volume: CTVolume, path: Path) -> None:
        head, mark, _ = path.read_bytes().partition(b"\n\n")
        path.write_bytes(head + mark + gzip.compress(bytes(2 * int(np.prod(SHAPE)))))
        with pytest.raises(InputError, match=r"lungs\.seg\.nrrd are empty; segment both lungs first"):
            read_mask(volume, path)

    def test_exchanged_names_of_the_lungs_are_refused_as_exchanged_numbers_are(self, volume: CTVolume, path: Path) -> None:
        content = path.read_bytes()
        for name, other in ((b"Left lung", b"Lexx lung"), (b"Right lung", b"Left lung"), (b"Lexx lung", b"Right lung")):
            content = content.replace(b"_Name:=" + name, b"_Name:=" + other)
        path.write_bytes(content)
        quality = read_mask(volume, path).quality
        assert quality.verdict == "failed"
        with pytest.raises(LungNotFoundError, match=r"nothing was measured.*They are exchanged: name them the other way round"):
            require_usable(quality)


@pytest.mark.parametrize(("where", "words"), [("body", "to 100 % tissue"), ("air", "that of gas")])
def test_a_mask_that_lies_beside_the_lungs_gives_no_numbers(labels: np.ndarray, tmp_path: Path, where: str, words: str) -> None:
    hu = np.where(labels > 0, -850.0, 40.0) + np.random.default_rng(1).normal(0.0, 20.0, SHAPE)
    hu[:, :6] = -1000.0
    chest = CTVolume(hu.astype(np.float32), Geometry(SPACING))
    beside = np.zeros(SHAPE, np.uint8)
    beside[:, 36 : 46 if where == "body" else 36, 10:50] = 1
    if where == "air":
        beside[:, :6] = 1
    quality = read_mask(chest, stored(tmp_path / "mask.nrrd", beside)).quality
    assert quality.verdict == "failed"
    assert words in quality.reasons[-1]


def test_a_dicom_segmentation_is_named(volume: CTVolume, tmp_path: Path) -> None:
    (tmp_path / "seg.dcm").write_bytes(bytes(128) + b"DICM" + bytes(50))
    with pytest.raises(InputError, match=r"is a DICOM file.*save it as \.seg\.nrrd"):
        read_mask(volume, tmp_path / "seg.dcm")
