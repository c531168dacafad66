"""Masks of real chests; skipped where the development data are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from emphysema.phantom import dice

from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from EmphysemaQuantLib.core.lungs.supplied_mask import judge_supplied
from KernelNormalizationLib.core.imaging.filters import gaussian
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.volume import CTVolume, Geometry

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="development CT data are not on this machine"),
]


@pytest.fixture(scope="module")
def philips():
    return {
        kernel: segment_lungs(read_volume(DATA / "lung-dx-a0001-philips" / folder))
        for kernel, folder in (("sharp", "sharp_L"), ("soft", "soft_B"))
    }


def test_sharp_and_soft_series_of_one_acquisition_give_one_mask(philips):
    sharp, soft = philips["sharp"], philips["soft"]
    assert dice(sharp.mask, soft.mask) >= 0.99
    for side in (1, 2):
        ratio = np.count_nonzero(sharp.labels == side) / np.count_nonzero(soft.labels == side)
        assert ratio == pytest.approx(1.0, abs=0.05)
    assert (sharp.quality.verdict, soft.quality.verdict) == ("ok", "ok")


def test_a_b70f_chest_is_segmented_without_doubt():
    volume = read_volume(DATA / "cptac-c3n00247-siemens" / "sharp_B70f")
    mask = segment_lungs(volume)
    right, left = (np.count_nonzero(mask.labels == s) * volume.geometry.voxel_volume_ml for s in (1, 2))
    assert 2500 < right < 2800
    assert 1750 < left < 2050
    assert mask.quality.verdict == "ok"
    ei = 100 * np.mean(volume.hu[mask.mask] < -950)
    assert 10 < ei < 13
    smooth = volume.with_hu(gaussian(volume.hu, volume.geometry.spacing, 1.0, (0, 1)), name="smooth", synthetic=True)
    assert dice(segment_lungs(smooth).mask, mask.mask) >= 0.99


def test_a_third_of_a_lung_cut_out_of_a_real_mask_is_missed_and_the_whole_mask_raises_no_doubt():
    volume = read_volume(DATA / "cptac-c3n00247-siemens" / "sharp_B70f")
    labels = segment_lungs(volume).labels
    assert judge_supplied(volume, labels).verdict == "ok"
    columns = np.cumsum(np.count_nonzero(labels == 1, axis=(0, 1)))
    cut = labels.copy()
    part = cut[:, :, : int(np.searchsorted(columns, columns[-1] / 3))]
    part[part == 1] = 0  # the lateral third of the right lung
    assert any("look like lung and were left out" in reason for reason in judge_supplied(volume, cut).reasons)


def test_axial_slices_agree_with_the_labels_of_a_network():
    folder = DATA / "cip-two-slices"
    image = sitk.ReadImage(str(folder / "crop_ct_2slices.nrrd"))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "crop_ct_2slices_dcnnLungSegmentationLabelmap.nrrd")))
    # two slices are no volume; each is repeated eight times
    hu = np.repeat(sitk.GetArrayFromImage(image).astype(np.float32), 8, axis=0)
    mask = segment_lungs(CTVolume(hu, Geometry((0.5, 0.585938, 0.585938))))
    truth = np.repeat(labels, 8, axis=0)
    assert dice(mask.labels == 1, truth == 2) >= 0.95
    assert dice(mask.labels == 2, truth == 3) >= 0.95
    assert mask.quality.verdict != "ok"
