"""Arms, table, gown, prone patients and lung without air: what lies beside the lungs changes nothing but the verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emphysema.phantom import Phantom, dice, make

from EmphysemaQuantLib.core.lungs.segmentation import LungMask, segment_lungs
from KernelNormalizationLib.core.volume import CTVolume, Geometry

pytestmark = pytest.mark.slow

SHAPE, SPACING = (72, 150, 220), (4.0, 2.2, 2.2)


@pytest.fixture(scope="module")
def chest() -> Phantom:
    return make(shape=SHAPE, noise_hu=30.0)


@pytest.fixture(scope="module")
def millimetres() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, y, x in mm from the middle, to be broadcast."""
    z, y, x = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, SPACING, strict=True))
    return z[:, None, None], y[None, :, None], x[None, None, :]


def painted(chest: Phantom, where: np.ndarray, hu: float) -> CTVolume:
    noise = np.random.default_rng(4).normal(0.0, 30.0, SHAPE)
    return replace(chest.volume, hu=np.where(where, np.rint(hu + noise), chest.volume.hu).astype(np.float32))


def assert_found(mask: LungMask, right: np.ndarray, left: np.ndarray) -> None:
    assert dice(mask.labels == 1, right) > 0.98
    assert dice(mask.labels == 2, left) > 0.98


@pytest.mark.parametrize("distance_mm", [186.0, 200.0])
def test_arms_beside_the_chest_touching_it_or_not_change_nothing(chest, millimetres, distance_mm):
    _, y, x = millimetres
    arms = (np.hypot(np.abs(x) - distance_mm, y) < 22.0) & np.ones(SHAPE, bool)
    bones = (np.hypot(np.abs(x) - distance_mm, y) < 8.0) & np.ones(SHAPE, bool)
    volume = painted(chest, arms, 50.0)
    volume = painted(replace(chest, volume=volume), bones, 700.0)
    mask = segment_lungs(volume)
    assert_found(mask, chest.right, chest.left)
    assert mask.quality.verdict == "ok"


def test_a_gown_with_folds_of_air_under_it_is_no_lung(chest, millimetres):
    _, y, x = millimetres
    ring = (y / 140.0) ** 2 + (x / 195.0) ** 2
    volume = painted(chest, (ring > 0.97) & (ring < 1.03) & np.ones(SHAPE, bool), -350.0)
    mask = segment_lungs(volume)
    assert_found(mask, chest.right, chest.left)
    assert mask.quality.verdict == "ok"


def test_a_patient_lying_prone_keeps_right_and_left(chest):
    # the image comes turned by half a turn in plane, as the scanner stores it, and its direction says so
    turned = Geometry(SPACING, direction=((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)))
    mask = segment_lungs(CTVolume(np.ascontiguousarray(chest.volume.hu[:, ::-1, ::-1]), turned))
    assert_found(mask, chest.right[:, ::-1, ::-1], chest.left[:, ::-1, ::-1])
    assert mask.quality.verdict == "ok"


def test_a_table_before_the_chest_is_left_out(chest, millimetres):
    _, y, _ = millimetres
    hu = chest.volume.hu.copy()
    behind = np.broadcast_to(y > 125.0, SHAPE)
    hu[behind] = -1000.0
    flat = np.broadcast_to(np.abs(y + 128.0) < 3.0, SHAPE)
    volume = painted(replace(chest, volume=replace(chest.volume, hu=hu)), flat, 150.0)
    mask = segment_lungs(volume)
    assert_found(mask, chest.right, chest.left)
    assert mask.quality.verdict == "ok"


SOLID = {
    "lower lobe behind": lambda z, y, x: (y > 20.0) & (z < 20.0) & (x < 0.0),
    "middle lobe in front": lambda z, y, x: (y < 0.0) & (z < 0.0) & (x < 0.0),
    "upper lobe": lambda z, y, x: (z > 40.0) & (x < 0.0),
}


@pytest.mark.parametrize("part", SOLID)
def test_consolidated_lung_is_left_out_and_reported(chest, millimetres, part):
    solid = SOLID[part](*millimetres) & chest.right
    mask = segment_lungs(painted(chest, solid, 30.0))
    assert dice(mask.labels == 1, chest.right & ~solid) > 0.95
    assert dice(mask.labels == 2, chest.left) > 0.98
    assert mask.quality.verdict == "look"


def test_a_mass_inside_a_lung_is_left_out_and_reported(chest, millimetres):
    z, y, x = millimetres
    mass = ((z - 20.0) ** 2 + y**2 + (x + 75.0) ** 2 < 30.0**2) & chest.right
    mask = segment_lungs(painted(chest, mass, 30.0))
    assert dice(mask.labels == 1, chest.right & ~mass) > 0.99
    assert (mask.mask & mass).sum() < 0.05 * mass.sum()
    assert mask.quality.verdict == "look"
    assert "holes" in mask.quality.reasons[0]


def test_the_dome_of_the_diaphragm_is_no_lung_though_lung_lies_round_it(chest, millimetres):
    z, y, x = millimetres
    dome = (((z + 95.0) / 60.0) ** 2 + (y / 50.0) ** 2 + ((x + 72.0) / 40.0) ** 2 < 1.0) & chest.right
    mask = segment_lungs(painted(chest, dome, 60.0))
    assert dice(mask.labels == 1, chest.right & ~dome) > 0.99
    assert (mask.mask & dome).sum() < 0.05 * dome.sum()
    assert mask.quality.verdict == "ok"
