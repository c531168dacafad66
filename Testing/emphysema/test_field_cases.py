"""Public reports rebuilt on a real chest: the number of each is the one of the scan as it was stored at first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from EmphysemaQuantLib.core.lungs.supplied_mask import mask_from_labels
from KernelNormalizationLib.core.io.padding import detect_padding
from KernelNormalizationLib.core.io.reading import read_volume, volume_from_image
from KernelNormalizationLib.core.io.writing import image_of
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.volume import CTVolume

SCAN = Path(__file__).parents[2].parent / "shared" / "data" / "cptac-c3n00247-siemens" / "sharp_B70f"
pytestmark = pytest.mark.skipif(not SCAN.is_dir(), reason="development CT data are not on this machine")


@pytest.fixture(scope="module")
def scan() -> CTVolume:
    return read_volume(SCAN)


@pytest.mark.slow
def test_padding_read_as_unsigned_is_no_metal_and_changes_no_index(scan: CTVolume) -> None:
    middle = (scan.shape[1] - 1) / 2
    rows, columns = np.mgrid[: scan.shape[1], : scan.shape[2]] - middle
    hu = np.where(np.hypot(rows, columns) > 255.0, np.float32(63536.0), scan.hu)
    mask = segment_lungs(CTVolume(hu, scan.geometry, scan.acquisition, detect_padding(hu)))
    assert 100 * np.mean(hu[mask.mask] < -950) == pytest.approx(11.18, abs=0.02)
    assert mask.quality.reasons == ()


@pytest.mark.slow
def test_a_mask_with_the_left_lung_first_gives_each_lung_its_own_index(scan: CTVolume) -> None:
    labels = segment_lungs(scan).labels
    index = {side: 100 * np.mean(scan.hu[labels == side] < -950) for side in (1, 2)}
    read = mask_from_labels(scan, np.array([0, 2, 1])[labels])
    assert 100 * np.mean(scan.hu[read.labels == 1] < -950) == pytest.approx(index[1])
    assert index[1] == pytest.approx(12.8, abs=0.1)
    assert index[2] == pytest.approx(8.9, abs=0.1)


@pytest.mark.slow
def test_a_scan_stored_coronal_is_normalized_like_the_transverse_one(scan: CTVolume) -> None:
    part = replace(scan, hu=scan.hu[40:52])
    image = sitk.PermuteAxes(image_of(part.hu, part.geometry), [0, 2, 1])
    coronal = volume_from_image(image, name="coronal", acquisition=part.acquisition)
    made = [create_normalizer("linear").normalize(v, ProgressTracker()).volume for v in (part, coronal)]
    np.testing.assert_allclose(made[1].hu.transpose(1, 0, 2), made[0].hu, atol=0.01)
    assert made[1].synthetic
