from __future__ import annotations

import numpy as np
import pytest
from emphysema.phantom import dice, make
from emphysema.stress import STRESSES, Case

from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs

pytestmark = pytest.mark.slow

RIGHT_MASK_DICE = 0.95


@pytest.fixture(scope="module")
def case():
    phantom = make(noise_hu=30.0)
    return Case(phantom.volume, phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8))


@pytest.mark.parametrize("name", STRESSES)
def test_a_hard_scan_gives_a_right_mask_or_a_stated_doubt(case, name):
    hard = STRESSES[name](case)
    mask = segment_lungs(hard.volume)
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
def test_what_a_reader_must_know_is_said(case, name):
    quality = segment_lungs(STRESSES[name](case).volume).quality
    assert quality.verdict == "look"
    assert any(DOUBTED[name] in reason for reason in quality.reasons)


@pytest.mark.parametrize("name", ["as it is", "noise x3", "spacing x2", "turned 15 degrees"])
def test_a_harmless_change_raises_no_doubt(case, name):
    assert segment_lungs(STRESSES[name](case).volume).quality.verdict == "ok"
