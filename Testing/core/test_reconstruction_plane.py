"""Voxels stored in coronal, sagittal or oblique order: kernels act in the plane of reconstruction, or the scan is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from core.chests import Chest, make_chest

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.reconstruction_plane import in_reconstruction_plane
from KernelNormalizationLib.core.kernels.noise_sharpness import estimate_sharpness
from KernelNormalizationLib.core.methods.protocol import METHODS, Method, NormalizationResult
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.network.model_folder import Model
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.suitability import assess
from KernelNormalizationLib.core.volume import CTVolume, Geometry

ORDERS = [order for order in permutations((0, 1, 2)) if order != (0, 1, 2)]


def stored(volume: CTVolume, order: tuple[int, ...], flips: tuple[int, ...] = ()) -> CTVolume:
    """The same voxels in the same place with array axis ``order[n]`` stored as axis n, then reversed along ``flips``."""
    given = volume.geometry
    columns = [np.asarray(given.direction)[:, 2 - order[2 - n]] for n in range(3)]
    spacing = [given.spacing[a] for a in order]
    hu = volume.hu.transpose(order)
    origin = np.asarray(given.origin, float)
    for axis in flips:
        origin += columns[2 - axis] * spacing[axis] * (hu.shape[axis] - 1)
        columns[2 - axis] = -columns[2 - axis]
    direction = tuple(tuple(float(v) for v in row) for row in np.stack(columns, axis=1))
    geometry = Geometry((spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction)
    return replace(volume, hu=np.flip(hu, flips), geometry=geometry)


def tilted(volume: CTVolume, degrees: float) -> CTVolume:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return replace(volume, geometry=replace(volume.geometry, direction=((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c))))


def normalized(method: Method, volume: CTVolume, model: Model) -> NormalizationResult:
    chosen = str(model.folder) if method == "unet" else None
    return create_normalizer(method, model=chosen, device="cpu").normalize(volume, ProgressTracker())


@pytest.fixture(scope="module")
def chest() -> Chest:
    return make_chest(slices=10, number=70.0, noise_hu=80.0)


@pytest.mark.parametrize("order", ORDERS)
def test_a_scan_in_any_order_is_judged_as_in_transverse_order(chest: Chest, order: tuple[int, ...]) -> None:
    turned = stored(chest.volume, order, (1,))
    expected, found = estimate_sharpness(chest.volume), estimate_sharpness(turned)
    assert expected is not None
    assert found is not None
    assert found.kernel_number == pytest.approx(expected.kernel_number, abs=0.5)
    assert assess(turned).verdict == assess(chest.volume).verdict


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1)], ids=["coronal", "sagittal"])
def test_every_method_gives_the_same_voxels_in_the_stored_order(
    chest: Chest, model: Model, method: Method, order: tuple[int, ...]
) -> None:
    expected = normalized(method, chest.volume, model)
    found = normalized(method, stored(chest.volume, order), model)
    assert found.volume.geometry == stored(chest.volume, order).geometry
    assert found.volume.hu.flags.c_contiguous
    np.testing.assert_allclose(found.volume.hu, expected.volume.hu.transpose(order), atol=0.01)
    assert found.record["method"] == method


def test_a_transverse_stack_is_not_copied(chest: Chest) -> None:
    assert in_reconstruction_plane(chest.volume).volume is chest.volume
    flipped = stored(chest.volume, (0, 1, 2), (0, 2))
    assert in_reconstruction_plane(flipped).volume is flipped


@pytest.mark.parametrize("order", ORDERS)
def test_turning_keeps_every_voxel_in_its_place(chest: Chest, order: tuple[int, ...]) -> None:
    given = stored(chest.volume, order, (0,))
    turned = in_reconstruction_plane(given)
    assert np.array_equal(turned.back(turned.volume.hu), given.hu)
    index = np.array([3, 5, 7])  # of the turned array
    there = np.empty(3, int)
    there[list(turned.axes)] = index
    places = [v.geometry.ijk_to_lps @ [*n[::-1], 1.0] for v, n in ((turned.volume, index), (given, there))]
    np.testing.assert_allclose(places[0], places[1])
    assert turned.volume.hu[tuple(index)] == given.hu[tuple(there)]


def test_a_tilted_gantry_is_accepted_and_a_resampled_oblique_stack_refused(chest: Chest) -> None:
    assert assess(tilted(chest.volume, 25.0)).verdict == assess(chest.volume).verdict
    with pytest.raises(InputError, match="45 degrees"):
        assess(tilted(chest.volume, 45.0))
    with pytest.raises(InputError, match="obliquely"):
        create_normalizer("linear").normalize(tilted(chest.volume, 45.0), ProgressTracker())


@pytest.mark.parametrize("method", ["linear", "restored", "unet"])
def test_a_scan_that_is_left_as_it_is_is_not_called_synthetic(model: Model, method: Method) -> None:
    volume = make_chest(slices=8, number=20.0, noise_hu=14.0, kernel="B20f").volume
    result = normalized(method, volume, model)
    assert np.array_equal(result.volume.hu, volume.hu)
    assert not result.volume.synthetic
    assert result.volume.acquisition == volume.acquisition
    assert result.volume.name == volume.name
    assert (result.record["method"], result.record["synthetic"]) == ("none", False)
    assert result.record["method_asked_for"] == method
    assert result.record["warnings"][0].startswith("Nothing was done")
