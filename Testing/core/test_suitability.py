"""The verdict on a scan before it is normalized, with reasons a reader can check."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from core.chests import make_chest

from KernelNormalizationLib.core.imaging.body import find_body
from KernelNormalizationLib.core.suitability import Suitability, assess
from KernelNormalizationLib.core.volume import CTVolume

# Eight small slices hold the air of a chest only if they are far apart; everything else is as in a thin-slice scan.
THICK = 100.0


def chest(thickness: float = 1.0, **how: object) -> CTVolume:
    """A chest of adult lung volume whose header states thin slices."""
    volume = make_chest(slices=8, slice_mm=THICK, **how).volume  # type: ignore[arg-type]
    return replace(volume, acquisition=replace(volume.acquisition, slice_thickness_mm=thickness))


def reasons(verdict: Suitability) -> str:
    return " ".join(verdict.reasons)


def test_a_sharp_thin_siemens_chest_is_in_domain_without_reserve() -> None:
    verdict = assess(chest(number=70.0))
    assert verdict.verdict == "in domain"
    assert verdict.reasons == ()
    assert verdict.floor.kind == "truncated"
    assert verdict.lung_ml > 400.0


@pytest.mark.parametrize(("kernel", "number"), [("B20f", 20.0), ("B30f", 25.0)])
def test_a_smooth_kernel_needs_nothing(kernel: str, number: float) -> None:
    verdict = assess(chest(kernel=kernel, number=number, noise_hu=15.0))
    assert verdict.verdict == "already smooth"
    assert "normalization is not needed" in verdict.reasons[0]


def test_a_synthetic_volume_needs_nothing() -> None:
    verdict = assess(replace(chest(), synthetic=True))
    assert verdict.verdict == "already smooth"
    assert "synthetic" in verdict.reasons[0]


def test_an_unknown_kernel_is_said_with_what_the_noise_tells() -> None:
    verdict = assess(chest(kernel=None, number=60.0))
    assert verdict.verdict == "untested"
    assert "The scan's kernel is unknown; its noise is as sharp as that of B" in reasons(verdict)


def test_another_makers_kernel_is_said_by_name() -> None:
    verdict = assess(chest(kernel="LUNG", manufacturer="GE MEDICAL SYSTEMS"))
    assert verdict.verdict == "untested"
    assert "Kernel LUNG is not of the Siemens B family" in reasons(verdict)
    assert "GE MEDICAL SYSTEMS" in reasons(verdict)


def test_a_tag_that_the_noise_contradicts_is_said() -> None:
    verdict = assess(chest(kernel="B80f", number=45.0))
    assert verdict.verdict == "untested"
    assert "The header says B80f, but the noise looks like B4" in reasons(verdict)


@pytest.mark.parametrize(("kernel", "image_type"), [("I70f\\3", ()), ("B70f", ("DERIVED", "SAFIRE"))])
def test_an_iterative_reconstruction_is_said(kernel: str, image_type: tuple[str, ...]) -> None:
    volume = chest(kernel=kernel)
    verdict = assess(replace(volume, acquisition=replace(volume.acquisition, image_type=image_type)))
    assert verdict.verdict == "untested"
    assert "iterative" in reasons(verdict)


def test_too_little_lung_is_no_chest() -> None:
    verdict = assess(make_chest(slices=8, slice_mm=1.0).volume)
    assert verdict.verdict == "refuse"
    assert f"Only {verdict.lung_ml:.0f} mL" in verdict.reasons[0]
    assert "at least 400 mL" in verdict.reasons[0]


def test_air_alone_is_no_chest() -> None:
    verdict = assess(replace(chest(), hu=np.full((8, 144, 144), -1000.0, np.float32)))
    assert verdict.verdict == "refuse"
    assert verdict.lung_ml == 0.0


def test_thick_slices_are_said_with_their_thickness() -> None:
    assert "5.0 mm thick" in reasons(assess(chest(thickness=5.0)))


def test_pixels_outside_the_trained_range_are_said_with_their_size() -> None:
    assert "1.20 mm" in reasons(assess(chest(pixel_mm=1.2, number=50.0, kernel="B50f")))


def test_pixels_that_are_not_square_are_said() -> None:
    square = chest()
    oblong = replace(square, geometry=replace(square.geometry, spacing=(*square.geometry.spacing[:2], 0.65)))
    assert "The pixels are 0.7 x 0.65 mm, and scanners make square ones" in reasons(assess(oblong))
    assert "square" not in reasons(assess(square))


def test_a_missing_floor_and_another_floor_are_said() -> None:
    assert "No values were cut off at an HU floor" in reasons(assess(chest(floor=None)))
    assert "The HU floor is -1000" in reasons(assess(chest(floor=-1000.0)))


def test_values_cut_off_above_the_threshold_are_refused() -> None:
    verdict = assess(chest(floor=-940.0))
    assert verdict.refused
    assert verdict.reasons[0].startswith("All values below -940 HU were cut off, and with them what emphysema is measured by.")


def test_a_lung_lost_at_the_floor_is_said_with_its_share() -> None:
    volume = chest()
    region = find_body(volume)
    assert region is not None
    hu = volume.hu.copy()
    hu[region.lungs & (np.random.default_rng(1).random(hu.shape) < 0.5)] = -1024.0
    verdict = assess(replace(volume, hu=hu))
    assert verdict.lung_floor_share == pytest.approx(0.5, abs=0.02)
    assert "50 % of the lung is stored at the HU floor" in reasons(verdict)


def test_padding_is_neither_floor_nor_lung() -> None:
    plain, padded = assess(chest()), assess(chest(padding=-2048.0))
    assert padded.verdict == "in domain"
    assert padded.floor == plain.floor
    assert padded.lung_ml == pytest.approx(plain.lung_ml, rel=0.02)


def test_the_record_is_json() -> None:
    record = assess(chest()).as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["verdict"] == "in domain"
    assert 60.0 <= record["kernel_number_from_noise"] <= 80.0


def test_the_body_is_boxed_and_its_lungs_are_inside() -> None:
    made = make_chest(slices=8, side=200, scale=0.6)
    region = find_body(made.volume)
    assert region is not None
    rows, columns = np.nonzero(made.body.any(axis=0))
    for part, used in zip(region.box, (rows, columns), strict=True):
        assert part.start <= used.min() + 4 <= used.max() - 4 <= part.stop
        assert part.stop - part.start < 200
    assert region.slices_with_body.all()
    assert not (region.lungs & ~made.lungs).any()
    # two blocks of 4 pixels are left out along every border
    assert region.lungs.sum() > 0.35 * made.lungs.sum()


@pytest.mark.parametrize("scale", [0.5, 0.6, 0.75, 0.9])
def test_a_thin_chest_wall_closes_round_the_lungs(scale: float) -> None:
    # at the smallest scale the wall is 9 pixels, 6.5 mm
    made = make_chest(slices=8, scale=scale)
    region = find_body(made.volume)
    assert region is not None
    used = np.flatnonzero(made.lungs.any(axis=(0, 1)))
    assert region.box[1].start < used.min() < used.max() < region.box[1].stop
    halves = np.split(region.lungs, 2, axis=2)
    assert all(half.any() for half in halves)


def test_slices_without_body_are_known() -> None:
    volume = make_chest(slices=10).volume
    hu = volume.hu.copy()
    hu[:3] = -1000.0
    region = find_body(replace(volume, hu=hu))
    assert region is not None
    assert region.slices_with_body.tolist() == [False] * 3 + [True] * 7


def test_the_real_siemens_chest_is_in_domain_but_thick(verdicts: dict[str, Suitability]) -> None:
    verdict = verdicts["siemens"]
    assert verdict.verdict == "in domain"
    assert "3.0 mm thick" in reasons(verdict)
    # the data's own description: 0.28 % of lung voxels at the floor; this coarse lung leaves its borders out
    assert verdict.lung_floor_share == pytest.approx(0.0028, abs=0.0015)


def test_the_real_philips_series_are_untested_and_smooth(verdicts: dict[str, Suitability]) -> None:
    assert verdicts["sharp"].verdict == "untested"
    assert "Philips" in reasons(verdicts["sharp"])
    assert verdicts["soft"].verdict == "already smooth"
    assert verdicts["soft"].lung_floor_share < 1e-4 < verdicts["sharp"].lung_floor_share
