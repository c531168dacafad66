"""What the numbers of a supplied mask mean is checked against where they lie; no number is left out without a word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emphysema.phantom import Phantom, make
from numpy.typing import NDArray

from EmphysemaQuantLib.core.lungs.label_schemes import NUMBERINGS, Numbering, parse_labels
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.supplied_mask import mask_from_labels
from KernelNormalizationLib.core.errors import InputError


@pytest.fixture(scope="module")
def chest() -> Phantom:
    return make()


def numbered(chest: Phantom, right: int, left: int, airways: int = 0) -> NDArray[np.int16]:
    labels = np.zeros(chest.volume.shape, np.int16)
    labels[chest.right], labels[chest.left] = right, left
    labels[chest.airways] = airways
    return labels


# right, left and airways as LUNA16 and others number them
@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(1, 2, 0), (2, 1, 0), (2, 1, 3), (1, 2, 3), (2, 3, 0), (4, 3, 5), (4, 3, 0)])
def test_right_and_left_are_told_by_where_they_lie_whatever_their_numbers(
    chest: Phantom, numbers: tuple[int, int, int]
) -> None:
    mask = mask_from_labels(chest.volume, numbered(chest, *numbers))
    assert np.array_equal(mask.labels == 1, chest.right)
    assert np.array_equal(mask.labels == 2, chest.left)
    assert mask.quality == MaskQuality("ok")
    assert mask.lobes is None
    assert mask.airways.any() == bool(numbers[2])
    assert f"{numbers[0]} right lung" in mask.notes[0]


@pytest.mark.slow
def test_lobes_numbered_from_the_right_are_known(chest: Phantom) -> None:
    upper = (np.arange(72) > 36)[:, None, None]
    labels = numbered(chest, 3, 5)
    labels[chest.right & upper], labels[chest.left & upper] = 1, 4
    mask = mask_from_labels(chest.volume, labels)
    assert np.array_equal(mask.labels == 1, chest.right)
    assert mask.lobes is not None
    assert np.array_equal(mask.lobes, labels)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 255])
@pytest.mark.parametrize("only", ["both", "right", "left"])
def test_a_mask_without_sides_is_parted_by_the_middle_of_the_body(chest: Phantom, number: int, only: str) -> None:
    right, left = (number * (only in ("both", side)) for side in ("right", "left"))
    mask = mask_from_labels(chest.volume, numbered(chest, right, left))
    assert np.count_nonzero((mask.labels == 1) != (chest.right & bool(right))) < 0.002 * chest.lungs.sum()
    assert np.count_nonzero((mask.labels == 2) != (chest.left & bool(left))) < 0.002 * chest.lungs.sum()


@pytest.mark.parametrize("labels", [None, "binary"])
def test_an_empty_mask_is_called_empty(chest: Phantom, labels: str | None) -> None:
    scheme = None if labels is None else parse_labels(labels)
    with pytest.raises(InputError, match="empty"):
        mask_from_labels(chest.volume, np.zeros(chest.volume.shape, np.uint8), scheme)


def test_a_named_numbering_that_the_anatomy_contradicts_is_refused(chest: Phantom) -> None:
    with pytest.raises(InputError, match=r"are exchanged in the scan.*--mask-labels"):
        mask_from_labels(chest.volume, numbered(chest, 2, 1), "lungmask")
    with pytest.raises(InputError, match="are exchanged in the scan"):
        mask_from_labels(chest.volume, numbered(chest, 7, 9), parse_labels("right=9,left=7"))
    with pytest.raises(InputError, match="are exchanged in the scan"):
        mask_from_labels(chest.volume, numbered(chest, 0, 1), "lungmask")


@pytest.mark.slow
def test_numbers_of_no_known_tool_are_refused_with_the_option_that_helps(chest: Phantom) -> None:
    with pytest.raises(InputError, match=r"7, 9.*--mask-labels"):
        mask_from_labels(chest.volume, numbered(chest, 7, 9))
    mask = mask_from_labels(chest.volume, numbered(chest, 7, 9, 30), parse_labels("right=7, left=9, airways=30"))
    assert np.array_equal(mask.labels == 1, chest.right)
    assert np.array_equal(mask.airways, chest.airways)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
def test_a_part_of_a_lung_is_not_taken_for_the_other_lung(chest: Phantom, numbers: tuple[int, int]) -> None:
    """Both lungs with a nodule or lesion of its own number."""
    both, part = numbers
    labels = numbered(chest, both, both)
    columns = np.flatnonzero(chest.left.any(axis=(0, 1)))
    lateral = np.arange(chest.volume.shape[2]) > np.quantile(columns, 0.9)
    labels[chest.left & lateral & (np.arange(72) > 36)[:, None, None]] = part
    with pytest.raises(InputError, match="fit no known tool"):
        mask_from_labels(chest.volume, labels)


@pytest.mark.slow
def test_the_airways_are_not_taken_for_a_lobe(chest: Phantom) -> None:
    labels = numbered(chest, 3, 2, 1)
    with pytest.raises(InputError, match=r"1, 2, 3, and the positions of their voxels fit no known tool"):
        mask_from_labels(chest.volume, labels)
    mask = mask_from_labels(chest.volume, labels, parse_labels("right=3,left=2,airways=1"))
    assert np.array_equal(mask.labels == 2, chest.left)
    assert np.array_equal(mask.airways, chest.airways)


@pytest.mark.slow
def test_thirds_of_the_chest_imaging_platform_are_lungs_and_no_lobes(chest: Phantom) -> None:
    third = np.clip((np.arange(72) // 24), 0, 2)[:, None, None]
    labels = np.where(chest.left, 11 - third, np.where(chest.right, 14 - third, 0))
    mask = mask_from_labels(chest.volume, labels)
    assert np.array_equal(mask.labels == 1, chest.right)
    assert np.array_equal(mask.labels == 2, chest.left)
    assert mask.lobes is None


@pytest.mark.slow
def test_a_mask_of_everything_but_the_lungs_failed(chest: Phantom) -> None:
    mask = mask_from_labels(chest.volume, (~chest.lungs).astype(np.uint8))
    assert mask.quality.verdict == "failed"
    assert any("more than any lungs hold" in reason for reason in mask.quality.reasons)


@pytest.mark.slow
def test_a_mask_of_emphysema_instead_of_lungs_failed(chest: Phantom) -> None:
    """It gave an index of 100 %."""
    low = chest.lungs & (chest.volume.hu < np.quantile(chest.volume.hu[chest.lungs], 0.3))
    emphysema = replace(chest.volume, hu=np.where(low, np.float32(-985.0), chest.volume.hu))
    mask = mask_from_labels(emphysema, low.astype(np.uint8))
    assert mask.quality.verdict == "failed"
    assert any("that of gas" in reason for reason in mask.quality.reasons)


@pytest.mark.slow
def test_a_mask_of_scattered_voxels_has_sides_at_once(chest: Phantom) -> None:
    """As of emphysema instead of the lungs: looked at piece by piece, it took hours."""
    scattered = chest.lungs & (np.random.default_rng(2).random(chest.lungs.shape) < 0.1)
    mask = mask_from_labels(chest.volume, scattered.astype(np.uint8))
    expected = numbered(chest, 1, 2) * scattered
    assert np.mean(mask.labels[scattered] == expected[scattered]) > 0.99
    assert mask.quality.verdict != "ok"


@pytest.mark.slow
@pytest.mark.parametrize("gaps", ["every second slice", "one slice of one lung"])
def test_empty_slices_between_those_of_a_lung_are_told(chest: Phantom, gaps: str) -> None:
    """As of a mask drawn on every second slice: its TLV was half the lungs', and its verdict ok."""
    labels = numbered(chest, 1, 2)
    held = np.flatnonzero(chest.left.any(axis=(1, 2)))
    middle = int(held.mean())
    empty = slice(middle % 2, None, 2) if gaps == "every second slice" else slice(middle, middle + 1)
    labels[empty][labels[empty] == 2] = 0
    if gaps == "every second slice":
        labels[empty] = 0
    quality = mask_from_labels(chest.volume, labels).quality
    assert quality.verdict == "look"
    told = next(reason for reason in quality.reasons if "are empty between slices" in reason)
    number = int(told.split()[0])
    assert number == 1 if gaps == "one slice of one lung" else number > held.size // 3


@pytest.mark.slow
def test_a_number_that_is_not_used_is_named(chest: Phantom) -> None:
    labels = numbered(chest, 1, 2)
    labels[10:14, 60:80, 100:110] = 6  # tissue
    mask = mask_from_labels(chest.volume, labels, "lungmask")
    assert "Not used: 6" in mask.notes[0]
    labels[chest.left & (np.arange(72) < 30)[:, None, None]] = 8
    quality = mask_from_labels(chest.volume, labels, "lungmask").quality
    assert quality.verdict == "look"
    assert any("8 (" in reason and "not used" in reason for reason in quality.reasons)


@pytest.mark.parametrize("text", ["", "right", "right=one", "right=1,right=2", "liver=5", "right=1,left=1", "right=0"])
def test_labels_that_cannot_be_understood_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--mask-labels"):
        parse_labels(text)


def test_labels_can_be_named_or_spelled_out() -> None:
    assert parse_labels("LUNA16") == "luna16"
    assert parse_labels("right=1+2,left=3") == Numbering(right=(1, 2), left=(3,))
    assert parse_labels("rul=4,rml=5,rll=6,lul=7,lll=8") == NUMBERINGS["cip-lobes"]
