"""Slices of two kernels in one series whose header does not tell: found by their noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from core.chests import make_chest
from core.dicomseries import write_series

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.volume_checks import with_checked_slices
from KernelNormalizationLib.core.kernels.mixed_kernels import find_mixture
from KernelNormalizationLib.core.volume import CTVolume, Geometry

DATA = Path(__file__).parents[2].parent / "shared" / "data"
Hu = np.ndarray
COUNT = 12
# the noise of B20f is a tenth of that of B70f
SHARP_HU, SMOOTH_HU = 90.0, 10.0


def stored(number: float, noise_hu: float, seed: int = 1) -> Hu:
    return np.rint(make_chest(slices=COUNT, side=192, number=number, noise_hu=noise_hu, seed=seed).volume.hu).astype(np.int16)


@pytest.fixture(scope="module")
def sharp() -> Hu:
    return stored(70.0, SHARP_HU)


@pytest.fixture(scope="module")
def smooth() -> Hu:
    return stored(20.0, SMOOTH_HU, seed=2)


def mixed(sharp: Hu, smooth: Hu, which: Hu) -> Hu:
    return np.where(which[:, None, None], smooth, sharp).astype(np.int16)


HALF, ALTERNATING = np.arange(COUNT) >= 6, np.arange(COUNT) % 2 == 1


@pytest.mark.parametrize("kernel", [None, "B70f"])
def test_half_of_the_slices_of_another_kernel_are_refused_and_the_place_is_named(
    tmp_path: Path, sharp: Hu, smooth: Hu, kernel: str | None
) -> None:
    write_series(tmp_path, mixed(sharp, smooth, HALF), kernel=kernel)
    with pytest.raises(InputError, match=r"of two kernels.*step between “image0005\.dcm” and “image0006\.dcm”"):
        read_volume(tmp_path)


def test_so_are_slices_that_alternate_and_volumes_stored_coronal(tmp_path: Path, sharp: Hu, smooth: Hu) -> None:
    path = tmp_path / "scan.nrrd"
    for which in (HALF, ALTERNATING):
        image = sitk.GetImageFromArray(mixed(sharp, smooth, which))
        image.SetSpacing((0.7, 0.7, 1.25))
        sitk.WriteImage(sitk.PermuteAxes(image, [0, 2, 1]), str(path))
        with pytest.raises(InputError, match="of two kernels"):
            read_volume(path)


def test_the_two_kinds_are_told_apart(sharp: Hu, smooth: Hu) -> None:
    found = find_mixture(mixed(sharp, smooth, ALTERNATING).astype(np.float32))
    assert found is not None
    assert found.sharper == (0, 2, 4, 6, 8, 10)
    assert found.smoother == (1, 3, 5, 7, 9, 11)
    assert found.noise_hu[0] > 5.0 * found.noise_hu[1]


def test_two_slices_of_another_kernel_are_told_but_not_refused(sharp: Hu, smooth: Hu) -> None:
    hu = mixed(sharp, smooth, np.arange(COUNT) >= COUNT - 2).astype(np.float32)
    volume = with_checked_slices(CTVolume(hu, Geometry((1.25, 0.7, 0.7))))
    (note,) = volume.acquisition.reading_notes
    assert note.startswith("Strength and sharpness of the noise change at once between “slice 10 of 12” and “slice 11 of 12”")
    assert volume.hu is hu


@pytest.mark.parametrize("number", [20.0, 70.0])
def test_one_kernel_with_another_dose_is_no_mixture(number: float) -> None:
    little, much = stored(number, 15.0), stored(number, 60.0, seed=2)
    assert find_mixture(mixed(little, much, HALF).astype(np.float32)) is None


def test_a_thinner_body_and_slices_without_tissue_are_no_mixture(sharp: Hu) -> None:
    hu = sharp.astype(np.float32)
    hu[:3] = -1000.0 + 0.1 * (hu[:3] - hu[:3].mean())
    thin = make_chest(slices=COUNT, side=192, number=70.0, noise_hu=SHARP_HU, scale=0.5).volume.hu
    assert find_mixture(np.concatenate([hu, thin])) is None


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="development CT data are not on this machine")
def test_real_chests_of_one_kernel_are_none_and_those_of_two_are() -> None:
    sharp, soft = (read_volume(DATA / "lung-dx-a0001-philips" / name) for name in ("sharp_L", "soft_B"))
    assert sharp.acquisition.reading_notes == soft.acquisition.reading_notes == ()
    for place in (10, 32, 54):
        both = replace(sharp, hu=np.concatenate([sharp.hu[:place], soft.hu[place:]]))
        with pytest.raises(InputError, match=f"between “slice {place} of 64” and “slice {place + 1} of 64”"):
            with_checked_slices(both)
