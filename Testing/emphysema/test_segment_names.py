"""Segmentations of 3D Slicer and of other programs, read by the names of their segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from EmphysemaQuantLib.core.lungs.segment_names import structure_of
from EmphysemaQuantLib.core.lungs.segmentation import LungMask, segment_lungs
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.volume import CTVolume

LOBES = ("right upper lobe", "right middle lobe", "right lower lobe", "left upper lobe", "left lower lobe")


@pytest.fixture(scope="module")
def scan() -> CTVolume:
    return make_sample(3, (16, 64, 64), (15.0, 5.2, 5.2)).sharp


@pytest.fixture(scope="module")
def whole(scan: CTVolume) -> LungMask:
    return segment_lungs(scan)


def lobes_of(labels: np.ndarray) -> np.ndarray:
    """Lobes 1 to 5 cut at two heights."""
    k = np.arange(len(labels))[:, None, None]
    right = np.where(k > 9, 1, np.where(k > 7, 2, 3))
    left = np.where(k > 8, 4, 5)
    found: np.ndarray = np.where(labels == 1, right, np.where(labels == 2, left, 0)).astype(np.uint8)
    return found


def save(
    path: Path, scan: CTVolume, labels: np.ndarray, names: dict[int, str], offset: tuple[int, int, int] = (0, 0, 0)
) -> Path:
    """Write a ``.seg.nrrd`` as 3D Slicer does, the first voxel at ``offset`` (i, j, k) of the scan."""
    matrix = scan.geometry.ijk_to_lps
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "space directions": matrix[:3, :3].T,
        "space origin": (matrix @ (*offset, 1.0))[:3],
        "Segmentation_ReferenceImageExtentOffset": " ".join(map(str, offset)),
    }
    for number, (label, name) in enumerate(names.items()):
        header |= {f"Segment{number}_Name": name, f"Segment{number}_Layer": "0", f"Segment{number}_LabelValue": str(label)}
    nrrd.write(str(path), labels.astype(np.uint8), header, index_order="C")
    return path


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("Right lung", "right lung"),
        ("lung_left", "left lung"),
        ("LeftLung", "left lung"),
        ("R lung", "right lung"),
        ("right upper lobe", "rul"),
        ("lung_middle_lobe_right", "rml"),
        ("Inferior lobe of left lung", "lll"),
        ("LUL", "lul"),
        ("RightSuperiorLobe", "rul"),
        ("Trachea and bronchi", "airways"),
        ("Emphysema", "emphysema"),
        ("right lung nodule", None),
        ("left middle lobe", None),
        ("upper right", None),
        ("right", None),
        ("both lungs", None),
        ("Segment_1", None),
        ("右肺", None),
        ("", None),
    ],
)
def test_names(name: str, structure: str | None) -> None:
    assert structure_of(name) == structure


def test_lobes_make_the_lungs(tmp_path: Path, scan: CTVolume, whole: LungMask) -> None:
    lobes = lobes_of(whole.labels)
    mask = read_mask(scan, save(tmp_path / "m.seg.nrrd", scan, lobes, dict(enumerate(LOBES, 1))))
    assert np.array_equal(mask.labels, whole.labels)
    assert mask.lobes is not None
    assert np.array_equal(mask.lobes, lobes)


def test_a_lobe_without_a_segment_is_told(tmp_path: Path, scan: CTVolume, whole: LungMask) -> None:
    names = dict(enumerate(LOBES[:4], 1)) | {5: "something"}
    mask = read_mask(scan, save(tmp_path / "m.seg.nrrd", scan, lobes_of(whole.labels), names))
    assert mask.quality.verdict == "look"
    assert "The mask has no segment of the lobe(s) LLL; what they hold is not measured." in mask.quality.reasons
    assert mask.notes == ("Segments of the mask that were not used: something.",)


def test_unnamed_segments_are_refused_with_the_names_to_give(tmp_path: Path, scan: CTVolume, whole: LungMask) -> None:
    path = save(tmp_path / "m.seg.nrrd", scan, whole.labels, {1: "Segment_1", 2: "Segment_2"})
    with pytest.raises(InputError, match=r"it has: Segment_1, Segment_2.*“right lung” and “left lung”, or the lobes"):
        read_mask(scan, path)


def test_two_segments_of_one_name_are_refused(tmp_path: Path, scan: CTVolume, whole: LungMask) -> None:
    path = save(tmp_path / "m.seg.nrrd", scan, lobes_of(whole.labels), {1: "right lung", 3: "Lung right", 4: "left lung"})
    with pytest.raises(InputError, match="has two segments for the right lung"):
        read_mask(scan, path)


def test_a_segmentation_cropped_by_slicer_is_put_in_its_place(tmp_path: Path, scan: CTVolume, whole: LungMask) -> None:
    part = whole.labels[1:, 8:, 5:]
    names = {1: "right lung", 2: "left lung"}
    mask = read_mask(scan, save(tmp_path / "m.seg.nrrd", scan, part, names, (5, 8, 1)))
    expected = np.zeros_like(whole.labels)
    expected[1:, 8:, 5:] = part
    assert np.array_equal(mask.labels, expected)
    # cropped by a program that does not say where: another grid
    with pytest.raises(InputError, match="Resample the mask onto the volume first"):
        read_mask(scan, save(tmp_path / "n.seg.nrrd", scan, part, names))
