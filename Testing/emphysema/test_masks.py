from __future__ import annotations

from dataclasses import replace

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from emphysema.phantom import dice, make

from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.lungs.slicer_segmentation import write_segmentation
from EmphysemaQuantLib.core.lungs.supplied_mask import NUMBERINGS, detect_scheme, mask_from_labels
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.writing import image_of
from KernelNormalizationLib.core.volume import CTVolume


@pytest.fixture(scope="module")
def chest():
    return make()


def lobes_of(chest) -> np.ndarray:
    """1 RUL, 2 RML, 3 RLL, 4 LUL, 5 LLL by horizontal cuts."""
    k = np.arange(chest.volume.shape[0])[:, None, None]
    lobes = np.zeros(chest.volume.shape, np.uint8)
    lobes[chest.right] = 3
    lobes[chest.right & (k > 30)] = 2
    lobes[chest.right & (k > 40)] = 1
    lobes[chest.left] = 5
    lobes[chest.left & (k > 35)] = 4
    return lobes


def numbered(chest, scheme: str) -> np.ndarray:
    numbering = NUMBERINGS[scheme]
    labels = np.zeros(chest.volume.shape, np.int16)
    if numbering.lobes:
        lobes = lobes_of(chest)
        for number, lobe in numbering.lobes.items():
            labels[lobes == lobe] = number
    else:
        for lung, numbers in ((chest.right, numbering.right), (chest.left, numbering.left)):
            thirds = np.linspace(0, len(numbers), len(labels), endpoint=False).astype(int)  # several numbers from the top
            labels[lung] = np.broadcast_to(np.array(numbers[::-1])[thirds][:, None, None], lung.shape)[lung]
    return labels


# Number -> anatomy as the tools publish it, written out here so that a slip in the adapter's table is seen.
PUBLISHED = {
    "lungmask": {1: "right", 2: "left", 3: "airways"},
    "left-right": {1: "left", 2: "right", 3: "airways"},
    "lungmask-lobes": {1: "LUL", 2: "LLL", 3: "RUL", 4: "RML", 5: "RLL"},
    "lobes-right-first": {1: "RUL", 2: "RML", 3: "RLL", 4: "LUL", 5: "LLL"},
    "totalsegmentator": {10: "LUL", 11: "LLL", 12: "RUL", 13: "RML", 14: "RLL", 16: "airways"},
    "totalsegmentator-v1": {13: "LUL", 14: "LLL", 15: "RUL", 16: "RML", 17: "RLL", 43: "airways"},
    "cip": {2: "right", 3: "left"},
    "cip-lobes": {4: "RUL", 5: "RML", 6: "RLL", 7: "LUL", 8: "LLL"},
    "cip-thirds": {9: "left", 10: "left", 11: "left", 12: "right", 13: "right", 14: "right"},
    "luna16": {3: "left", 4: "right", 5: "airways"},
}
LOBES = ("RUL", "RML", "RLL", "LUL", "LLL")


@pytest.mark.parametrize("scheme", PUBLISHED)
def test_the_numbering_is_the_published_one(scheme):
    numbering = NUMBERINGS[scheme]
    ours = {n: LOBES[lobe - 1] for n, lobe in (numbering.lobes or {}).items()}
    for meaning in ("right", "left", "airways"):
        ours |= dict.fromkeys(getattr(numbering, meaning), meaning)
    assert ours == PUBLISHED[scheme]
    assert set(PUBLISHED) == set(NUMBERINGS)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", list(NUMBERINGS))
def test_every_known_numbering_is_recognised_and_translated(chest, scheme):
    labels = numbered(chest, scheme)
    assert detect_scheme(chest.volume, labels) == scheme
    mask = mask_from_labels(chest.volume, labels)
    assert np.array_equal(mask.labels == 1, chest.right)
    assert np.array_equal(mask.labels == 2, chest.left)
    if NUMBERINGS[scheme].lobes:
        assert np.array_equal(mask.lobes, lobes_of(chest))


@pytest.mark.slow
def test_organs_of_a_whole_body_map_do_not_confuse_the_version(chest):
    labels = numbered(chest, "totalsegmentator")
    labels[30:34, 60:90, 90:100] = 51
    labels[50:, 78:84, 93:97] = 16
    mask = mask_from_labels(chest.volume, labels)
    assert np.array_equal(mask.lobes > 0, (labels >= 10) & (labels <= 14))
    assert np.array_equal(mask.airways, labels == 16)


@pytest.mark.slow
def test_a_mask_of_one_number_is_parted_by_side(chest):
    mask = mask_from_labels(chest.volume, chest.lungs.astype(np.uint8))
    assert dice(mask.labels == 1, chest.right) > 0.999
    assert dice(mask.labels == 2, chest.left) > 0.999


def test_a_number_of_a_single_voxel_is_not_overlooked(chest):
    labels = numbered(chest, "lungmask")
    k, j, i = np.argwhere(chest.lungs & (np.indices(chest.lungs.shape) % 2).all(axis=0))[0]
    labels[k, j, i] = 77
    with pytest.raises(InputError, match=r"77.*fit no known tool"):
        mask_from_labels(chest.volume, labels)


def test_a_mask_of_one_voxel_is_refused_in_words(chest):
    labels = np.zeros(chest.lungs.shape, np.uint8)
    labels[tuple(np.argwhere(chest.lungs & (np.indices(chest.lungs.shape) % 2).all(axis=0))[0])] = 2
    with pytest.raises(InputError, match="numbers 2"):
        mask_from_labels(chest.volume, labels)


def test_unknown_numbers_are_refused_and_the_choices_named(chest):
    labels = np.where(chest.lungs, 77, 0)
    with pytest.raises(InputError, match=r"77.*totalsegmentator"):
        mask_from_labels(chest.volume, labels)


@pytest.mark.slow
def test_a_missing_side_is_reported(chest):
    mask = mask_from_labels(chest.volume, chest.right.astype(np.uint8), "lungmask")
    assert mask.quality.verdict == "look"
    assert "left" in mask.quality.reasons[0]


def with_hole(chest) -> np.ndarray:
    labels = numbered(chest, "lungmask")
    middle = np.argwhere(chest.right).mean(axis=0).astype(int)
    labels[middle[0] - 5 : middle[0] + 5, middle[1] - 9 : middle[1] + 9, middle[2] - 9 : middle[2] + 9] = 0
    return labels


def with_liver(chest) -> np.ndarray:
    labels = numbered(chest, "lungmask")
    labels[10:20, 40:110, 30:90] = 1
    return labels


def upper_right_missing(chest) -> np.ndarray:
    labels = numbered(chest, "lungmask")
    labels[(labels == 1) & (np.arange(72)[:, None, None] > 46)] = 0
    return labels


SPOILED = {
    "holes": with_hole,
    "solid part": with_liver,
    "right lung does not cover": upper_right_missing,
    "Only": lambda chest: numbered(chest, "lungmask") * (np.arange(72) == 40)[:, None, None],
}


@pytest.mark.slow
@pytest.mark.parametrize("reason", SPOILED)
def test_a_supplied_mask_is_judged_and_never_silently_bad(chest, reason):
    quality = mask_from_labels(chest.volume, SPOILED[reason](chest), "lungmask").quality
    assert quality.verdict == ("failed" if reason == "Only" else "look")
    assert any(reason in text for text in quality.reasons)


@pytest.mark.slow
def test_a_good_supplied_mask_raises_no_doubt(chest):
    assert mask_from_labels(chest.volume, numbered(chest, "lungmask")).quality == MaskQuality("ok")


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_third_of_a_lung_that_was_cut_away_is_missed(chest, axis):
    labels = numbered(chest, "lungmask")
    voxels = np.count_nonzero(labels == 1, axis=tuple(other for other in range(3) if other != axis))
    end = int(np.searchsorted(np.cumsum(voxels), voxels.sum() / 3))
    first_third = np.indices(labels.shape)[axis] < end
    quality = mask_from_labels(chest.volume, np.where(first_third & (labels == 1), 0, labels), "lungmask").quality
    assert quality.verdict == "look"
    assert any("look like lung and were left out" in reason for reason in quality.reasons), quality.reasons


def test_a_supplied_mask_that_the_scan_cuts_off_says_so(chest):
    cut = replace(chest.volume, hu=chest.volume.hu[20:50])
    quality = mask_from_labels(cut, numbered(chest, "lungmask")[20:50]).quality
    assert any("uppermost" in reason for reason in quality.reasons)
    assert any("lowest" in reason for reason in quality.reasons)


@pytest.mark.slow
def test_a_label_file_in_another_axis_order_lands_in_place(chest, tmp_path):
    image = sitk.Flip(image_of(numbered(chest, "cip"), chest.volume.geometry), [True, False, True])
    sitk.WriteImage(image, str(tmp_path / "mask.nii.gz"))
    mask = read_mask(chest.volume, tmp_path / "mask.nii.gz")
    assert np.array_equal(mask.labels == 1, chest.right)


def test_a_label_file_on_another_grid_is_refused_with_the_values(chest, tmp_path):
    image = image_of(numbered(chest, "cip"), chest.volume.geometry)
    image.SetOrigin((1.0, 2.0, 50.0))
    sitk.WriteImage(image, str(tmp_path / "mask.nrrd"))
    with pytest.raises(InputError, match="50"):
        read_mask(chest.volume, tmp_path / "mask.nrrd")


def test_a_file_that_is_no_mask_is_refused(chest, tmp_path):
    (tmp_path / "mask.nrrd").write_text("nothing")
    with pytest.raises(InputError, match=r"mask\.nrrd"):
        read_mask(chest.volume, tmp_path / "mask.nrrd")
    with pytest.raises(InputError, match="does not exist"):
        read_mask(chest.volume, tmp_path / "absent.nrrd")


@pytest.fixture
def written(chest, tmp_path):
    geometry = replace(
        chest.volume.geometry,
        origin=(-10.5, 20.25, -300.0),
        direction=((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    )
    labels = chest.right.astype(np.uint8) + 2 * chest.left.astype(np.uint8)
    emphysema = chest.lungs & (chest.volume.hu < -870)
    path = tmp_path / "lungs.seg.nrrd"
    write_segmentation(path, geometry, LungMask(labels, chest.airways, MaskQuality("ok")), emphysema)
    return path, replace(chest.volume, geometry=geometry), labels, emphysema


def test_a_segmentation_comes_back_as_it_was_written(written):
    path, volume, labels, _ = written
    mask = read_mask(volume, path)
    assert np.array_equal(mask.labels, labels)


def test_airways_come_back_from_a_segmentation_and_painted_lung_wins_over_them(chest, tmp_path):
    labels = chest.right.astype(np.uint8) + 2 * chest.left.astype(np.uint8)
    painted = chest.airways & (np.arange(labels.shape[0]) < labels.shape[0] // 2)[:, None, None]
    labels[painted] = 1
    path = tmp_path / "airways.seg.nrrd"
    mask = LungMask(labels, chest.airways, MaskQuality("ok"))
    write_segmentation(path, chest.volume.geometry, mask, np.zeros(labels.shape, dtype=bool))
    back = read_mask(chest.volume, path)
    assert painted.any()
    assert np.array_equal(back.labels, labels)
    assert np.array_equal(back.airways, chest.airways & ~painted)


def test_emphysema_overlaps_the_lungs_in_a_layer_of_its_own(written):
    path, volume, _, emphysema = written
    data, header = nrrd.read(str(path))
    assert data.shape[0] == 2
    assert np.array_equal(data[1].T.astype(bool), emphysema)
    matrix = volume.geometry.ijk_to_lps
    assert np.allclose(np.asarray(header["space directions"][1:], float), matrix[:3, :3].T)
    assert np.allclose(header["space origin"], volume.geometry.origin)
    names = {header[f"Segment{n}_Name"]: header[f"Segment{n}_Layer"] for n in range(4)}
    assert names == {"Left lung": "0", "Right lung": "0", "Airways": "0", "Emphysema": "1"}
    assert "SCT^39607008^Lung~SCT^7771000^Left" in header["Segment0_Tags"]


def test_a_failed_write_leaves_no_file(chest, tmp_path):
    mask = LungMask(chest.right.astype(np.uint8), chest.airways, MaskQuality("ok"))
    with pytest.raises(InputError, match="shape"):
        write_segmentation(tmp_path / "a.seg.nrrd", chest.volume.geometry, mask, chest.right[1:])
    with pytest.raises(InputError, match=r"\.seg\.nrrd"):
        write_segmentation(tmp_path / "a.nrrd", chest.volume.geometry, mask, chest.right)
    assert list(tmp_path.iterdir()) == []


def test_segments_of_other_names_are_refused_and_listed(chest, written):
    path, volume, _, _ = written
    data, header = nrrd.read(str(path))
    header["Segment1_Name"] = "Liver"
    nrrd.write(str(path), data, header)
    with pytest.raises(InputError, match="Liver"):
        read_mask(volume, path)


def test_the_volume_type_is_untouched_by_reading(chest, written):
    path, volume, _, _ = written
    before = volume.hu.copy()
    read_mask(volume, path)
    assert isinstance(volume, CTVolume)
    assert np.array_equal(volume.hu, before)


@pytest.mark.parametrize(("label", "said"), [("-1", "the label -1"), ("2", "the same label 2")])
def test_a_segment_with_an_impossible_label_is_not_taken_for_an_empty_lung(written, label, said):
    path, volume, _, _ = written
    data, header = nrrd.read(str(path))
    header["Segment0_LabelValue"] = label  # of the left lung; the right one has 1
    header["Segment1_LabelValue"] = "1" if label == "-1" else label
    nrrd.write(str(path), data, header)
    with pytest.raises(InputError, match=said):
        read_mask(volume, path)
