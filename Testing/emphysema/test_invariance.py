"""How a volume is stored, and what lies around the body, changes no number of the complete panel."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from emphysema.phantom import make

from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.measurement import MeasurementSettings, VolumeMeasurement, measure
from KernelNormalizationLib.core.volume import CTVolume, Geometry

PADDING_HU = -2048.0


@pytest.fixture(scope="module")
def chest() -> tuple[CTVolume, LungMask]:
    phantom = make(shape=(60, 100, 126), spacing=(4.8, 3.3, 3.3), noise_hu=60.0, pattern="centrilobular")
    labels = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
    return phantom.volume, LungMask(labels, phantom.airways, MaskQuality("ok"))


@pytest.fixture(scope="module")
def panel(chest: tuple[CTVolume, LungMask]) -> VolumeMeasurement:
    return measured(*chest)


def measured(volume: CTVolume, mask: LungMask, threshold_hu: float = -950.0) -> VolumeMeasurement:
    return measure([volume], mask, MeasurementSettings(threshold_hu)).volume


def stored(volume: CTVolume, mask: LungMask, axes: tuple[int, int, int], flips: tuple[int, ...]) -> tuple[CTVolume, LungMask]:
    """The same anatomy with other stored axes: ``axes[n]`` becomes axis n, then the axes in ``flips`` are reversed."""

    def turned(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.flip(array.transpose(axes), flips))

    direction = np.zeros((3, 3))
    for n, axis in enumerate(axes):
        # array axes run (k, j, i) along (z, y, x); direction columns are in the order (i, j, k)
        direction[2 - axis, 2 - n] = -1.0 if n in flips else 1.0
    spacing = tuple(volume.geometry.spacing[axis] for axis in axes)
    geometry = Geometry(spacing, direction=tuple(map(tuple, direction)))
    labels, airways = turned(mask.labels), turned(mask.airways)
    return replace(volume, hu=turned(volume.hu), geometry=geometry), replace(mask, labels=labels, airways=airways)


def assert_same(ours: VolumeMeasurement, theirs: VolumeMeasurement) -> None:
    assert ours.curve == theirs.curve
    assert ours.floor == theirs.floor
    assert ours.clusters.count == theirs.clusters.count
    assert ours.clusters.largest_ml == pytest.approx(theirs.clusters.largest_ml)
    assert ours.clusters.class_percent == pytest.approx(theirs.clusters.class_percent)
    assert asdict(ours.clusters.power_law) == pytest.approx(asdict(theirs.clusters.power_law))
    for a, b in zip(ours.regions, theirs.regions, strict=True):
        first, second = asdict(a), asdict(b)
        assert first.pop("region") == second.pop("region")
        # sums run in another order
        assert first == pytest.approx(second, rel=1e-6, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "flips"),
    [((0, 1, 2), (0,)), ((0, 1, 2), (1, 2)), ((1, 0, 2), ()), ((2, 1, 0), (0, 2)), ((1, 2, 0), (1,)), ((2, 0, 1), (0, 1, 2))],
)
def test_stored_axes_and_their_sense_change_nothing(
    chest: tuple[CTVolume, LungMask], panel: VolumeMeasurement, axes: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    assert_same(panel, measured(*stored(*chest, axes, flips)))


@pytest.mark.slow
@pytest.mark.parametrize("margins", [((0, 0), (3, 4), (5, 2)), ((2, 1), (0, 7), (1, 1))])
def test_padding_around_the_image_changes_nothing(
    chest: tuple[CTVolume, LungMask], panel: VolumeMeasurement, margins: tuple[tuple[int, int], ...]
) -> None:
    volume, mask = chest
    wider = CTVolume(
        np.pad(volume.hu, margins, constant_values=PADDING_HU), volume.geometry, padding_value=PADDING_HU, name=volume.name
    )
    around = replace(mask, labels=np.pad(mask.labels, margins), airways=np.pad(mask.airways, margins))
    assert_same(panel, measured(wider, around))


@pytest.mark.slow
def test_every_index_below_a_threshold_rises_with_it(chest: tuple[CTVolume, LungMask]) -> None:
    panels = [measured(*chest, t) for t in (-970.0, -950.0, -930.0)]
    for lower, higher in pairwise(panels):
        for a, b in zip(lower.regions, higher.regions, strict=True):
            assert a.ei_percent <= b.ei_percent
            assert a.ev_ml <= b.ev_ml
        assert lower.clusters.largest_ml <= higher.clusters.largest_ml
