"""Scans that are hard to segment: the mask is right or says that it is doubtful."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from emphysema.phantom import dice, make
from emphysema.stress import STRESSES, Case

from EmphysemaQuantLib.core.lungs.segmentation import LungMask, segment_lungs

pytestmark = pytest.mark.slow

RIGHT_MASK_DICE = 0.95


@pytest.fixture(scope="module")
def case():
    phantom = make(noise_hu=30.0)
    return Case(phantom.volume, phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8))


@pytest.fixture(scope="module")
def segmented(case) -> Callable[[str], tuple[Case, LungMask]]:
    """The case under a stress, and its mask; each is made once."""

    @cache
    def under(name: str) -> tuple[Case, LungMask]:
        hard = STRESSES[name](case)
        return hard, segment_lungs(hard.volume)

    return under


@pytest.mark.parametrize("name", STRESSES)
def test_a_hard_scan_gives_a_right_mask_or_a_stated_doubt(segmented, name):
    hard, mask = segmented(name)
    sides = [dice(mask.labels == s, hard.labels == s) for s in (1, 2) if (hard.labels == s).any()]
    assert min(sides) >= RIGHT_MASK_DICE or mask.quality.verdict != "ok"


DOUBTED = {
    "apices cropped": "uppermost",
    "sides cropped": "edge of the image",
    "right lung filled": "right lung",
    "left effusion": "left lung",
    "pneumothorax": "pneumothorax",
    "metal": "metal",
}


@pytest.mark.parametrize("name", DOUBTED)
def test_what_a_reader_must_know_is_said(segmented, name):
    quality = segmented(name)[1].quality
    assert quality.verdict == "look"
    assert any(DOUBTED[name] in reason for reason in quality.reasons)


@pytest.mark.parametrize("name", ["as it is", "noise x3", "spacing x2", "turned 15 degrees"])
def test_a_harmless_change_raises_no_doubt(segmented, name):
    assert segmented(name)[1].quality.verdict == "ok"
