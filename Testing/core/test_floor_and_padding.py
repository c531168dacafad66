"""Padding outside the field of view and the floor of stored HU: told apart, measured, and restored to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.chests import make_chest
from core.conftest import REAL_SCANS
from hypothesis import given
from hypothesis import strategies as st

from KernelNormalizationLib.core.io.padding import detect_padding
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.truncation.hu_floor import detect_floor, floor_mask, floor_share
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.volume import CTVolume

NO_PADDING = np.zeros((10, 144, 144), bool)


def noisy_air(floor: float | None, images: int = 1) -> np.ndarray:
    """Lung and air of SD 60 HU, (10, 144, 144), stored as a scanner does that averages ``images`` cut off at that floor."""
    hu = np.random.default_rng(3).normal(-950.0, 60.0, (images, 10, 144, 144)).astype(np.float32)
    stored = hu.mean(axis=0) if floor is None else Truncation.of_equal_images(images, floor_hu=floor).store(hu)
    return np.rint(stored)


@pytest.mark.parametrize("padding", [-2048.0, -3024.0, -2000.0, -32768.0])
@pytest.mark.parametrize("floor", [-1024.0, None], ids=["floor", "no floor"])
def test_padding_is_found_and_kept_apart_from_the_floor(padding: float, floor: float | None) -> None:
    hu = make_chest(padding=padding, floor=floor).volume.hu
    assert detect_padding(hu) == padding
    found = detect_floor(hu, hu == padding)
    assert found.kind == ("none" if floor is None else "truncated")
    assert found.value > -1500.0
    assert not floor_mask(hu, found)[hu == padding].any()


@given(padding=st.integers(-32768, -1400), seed=st.integers(0, 1000), declared=st.booleans())
def test_padding_of_any_value_is_found(padding: int, seed: int, declared: bool) -> None:
    hu = np.random.default_rng(seed).normal(-900.0, 60.0, (8, 32, 32)).astype(np.float32)
    hu[:, :4] = padding
    assert detect_padding(hu, float(padding) if declared else None) == padding


def test_the_floor_is_not_padding() -> None:
    for floor in (-1024.0, -1000.0):
        assert detect_padding(noisy_air(floor)) is None
        assert detect_padding(noisy_air(floor), declared=floor) is None


def test_the_noise_of_untruncated_air_is_not_padding() -> None:
    assert detect_padding(noisy_air(None)) is None


def test_a_floor_below_1024_is_not_padding() -> None:
    hu = noisy_air(-1060.0)
    assert detect_padding(hu) is None
    assert detect_floor(hu, NO_PADDING).value == -1060.0


def test_a_declared_padding_value_that_does_not_occur_is_ignored() -> None:
    assert detect_padding(noisy_air(None), declared=-2000.0) is None


@pytest.mark.parametrize("floor", [-1024.0, -1000.0])
@pytest.mark.parametrize("images", [1, 2, 4])
def test_the_floor_is_found_however_many_images_were_averaged(floor: float, images: int) -> None:
    found = detect_floor(noisy_air(floor, images), NO_PADDING)
    assert (found.kind, found.value) == ("truncated", floor)
    assert found.threshold >= floor


@pytest.mark.parametrize(("number", "noise_hu"), [(70.0, 100.0), (30.0, 20.0), (20.0, 15.0)])
def test_a_clipped_floor_is_seen_in_sharp_and_in_smooth_series(number: float, noise_hu: float) -> None:
    hu = make_chest(number=number, noise_hu=noise_hu).volume.hu
    assert detect_floor(hu, NO_PADDING).kind == "truncated"


def test_an_untruncated_series_has_no_floor() -> None:
    hu = noisy_air(None)
    found = detect_floor(hu, NO_PADDING)
    assert found.kind == "none"
    assert found.value == hu.min()
    assert found.threshold < hu.min()
    assert not floor_mask(hu, found).any()
    assert floor_share(hu, found, ~NO_PADDING) == 0.0


def test_the_share_at_the_floor_counts_the_region_only() -> None:
    hu = noisy_air(-1024.0)
    found = detect_floor(hu, NO_PADDING)
    region = NO_PADDING.copy()
    region[:5] = True
    expected = np.count_nonzero(hu[:5] == -1024.0) / hu[:5].size
    # a normal of SD 60 about -950 lies 10.9 % below -1024
    assert expected == pytest.approx(0.109, abs=0.01)
    assert floor_share(hu, found, region) == pytest.approx(expected, abs=1e-12)
    assert floor_share(hu, found, NO_PADDING) == 0.0


def test_the_siemens_b70f_series_is_truncated_at_1024(siemens_b70f: CTVolume) -> None:
    found = detect_floor(siemens_b70f.hu, siemens_b70f.padding_mask)
    assert (found.kind, found.value) == ("truncated", -1024.0)
    assert siemens_b70f.padding_value is None


def test_both_philips_series_are_truncated_at_1024(philips_sharp: CTVolume, philips_soft: CTVolume) -> None:
    for volume in (philips_sharp, philips_soft):
        found = detect_floor(volume.hu, volume.padding_mask)
        assert (found.kind, found.value) == ("truncated", -1024.0)


def test_toshiba_slices_have_padding_of_2048_and_no_floor() -> None:
    files = sorted((REAL_SCANS / "phantom-toshiba" / "sharp_kernel").rglob("*.DCM"))
    if not files:
        pytest.skip("real phantom slices are not here")
    hu = np.stack([pydicom.dcmread(f).pixel_array for f in files]).astype(np.float32)
    assert detect_padding(hu) == -2048.0
    assert detect_floor(hu, hu == -2048.0).kind == "none"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear", "bands", "heuristic", "unet"])
@pytest.mark.parametrize("padding", [-2048.0, -3024.0])
def test_every_method_restores_padding_to_the_bit(method: str, padding: float, model_folder: Path, tmp_path: Path) -> None:
    write_volume(make_chest(padding=padding, slices=8).volume, tmp_path / "in.nrrd")
    volume = read_volume(tmp_path / "in.nrrd")
    outside = volume.hu == padding
    assert volume.padding_value == padding
    made = (
        create_normalizer(method, model=str(model_folder) if method == "unet" else None, device="cpu")
        .normalize(volume, ProgressTracker())
        .volume
    )  # type: ignore[arg-type]
    np.testing.assert_array_equal(made.hu[outside].view(np.uint32), volume.hu[outside].view(np.uint32))
    # nothing inside is drawn towards the padding, and nothing inside becomes it
    assert made.hu[~outside].min() >= -1024.0
    assert made.padding_value == padding


@pytest.mark.parametrize("method", ["linear", "heuristic"])
def test_an_untruncated_series_is_not_truncated_by_a_method(method: str) -> None:
    volume = make_chest(floor=None, noise_hu=120.0, slices=8).volume
    made = create_normalizer(method).normalize(volume, ProgressTracker()).volume  # type: ignore[arg-type]
    air = volume.hu < -950.0
    assert made.hu[air].min() < -1030.0
    # a filter keeps the mean (but for tails that leave the image); cutting the air's noise at -1024 would raise it by 10 HU
    assert made.hu.mean(dtype=float) == pytest.approx(volume.hu.mean(dtype=float), abs=1.0)
