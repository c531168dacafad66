"""Verdicts on the scans in ``shared/data``, each by its own header and pixels, and under a header that lies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from KernelNormalizationLib.core.io.dicom_pixels import read_pixels
from KernelNormalizationLib.core.io.dicom_series import acquisition_of, read_header
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.suitability import Suitability, assess
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from .conftest import REAL_SCANS

SMOOTH_SLICES = REAL_SCANS / "tcga-b20f"
# Slices through the lungs, from two scanners and of 5, 3 and 2 mm; the others of these nine read alike.
THORAX = ("ID_0019.dcm", "ID_0038.dcm", "ID_0065.dcm")
# Slices through the abdomen, and the one with the most lung of them (47 cm2), through the lung bases.
ABDOMEN = ("ID_0012.dcm", "ID_0032.dcm")


def relabelled(volume: CTVolume, kernel: str) -> CTVolume:
    """The same pixels under another name of a Siemens kernel."""
    return replace(volume, acquisition=replace(volume.acquisition, kernel=kernel, manufacturer="SIEMENS"))


def part(volume: CTVolume, first: int, last: int) -> CTVolume:
    """Slices ``first`` to ``last`` alone."""
    return CTVolume(volume.hu[first:last], volume.geometry, volume.acquisition, volume.padding_value)


def halved(volume: CTVolume) -> CTVolume:
    """Every second row and column: enough for a verdict on lungs, in a quarter of the time."""
    slice_mm, row_mm, column_mm = volume.geometry.spacing
    spacing = (slice_mm, 2.0 * row_mm, 2.0 * column_mm)
    return CTVolume(volume.hu[:, ::2, ::2], replace(volume.geometry, spacing=spacing), volume.acquisition, volume.padding_value)


@pytest.fixture(scope="module")
def sharp_part(siemens_b70f: CTVolume) -> CTVolume:
    """32 slices from the middle of the real B70f chest."""
    return part(siemens_b70f, 34, 66)


@pytest.fixture(scope="module")
def smooth_part(philips_soft: CTVolume) -> CTVolume:
    """20 slices from the middle of the real Philips B chest."""
    return part(philips_soft, 22, 42)


def test_siemens_b70f_is_in_domain(verdicts: dict[str, Suitability]) -> None:
    found = verdicts["siemens"]
    assert found.verdict == "in domain"
    assert found.contradiction is None
    assert found.name.in_words() == "Siemens B70f, very sharp, filtered back-projection"


def test_philips_l_is_untested_and_philips_b_is_smooth_already(verdicts: dict[str, Suitability]) -> None:
    assert verdicts["sharp"].verdict == "untested"
    assert "The scanner is from Philips; the method was made for Siemens." in verdicts["sharp"].reasons
    assert verdicts["soft"].verdict == "already smooth"
    assert verdicts["sharp"].contradiction is verdicts["soft"].contradiction is None


def block_of(name: str) -> CTVolume:
    """A real B20f slice, repeated to the smallest volume."""
    path = SMOOTH_SLICES / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    header = read_header(path)
    assert header is not None
    pixel = float(header.PixelSpacing[0])
    hu = np.repeat(read_pixels(path)[None], 8, axis=0)
    return CTVolume(hu, Geometry((float(header.SliceThickness), pixel, pixel)), acquisition_of(header))


@pytest.mark.slow
@pytest.mark.parametrize("name", THORAX)
def test_real_b20f_slices_are_smooth_already(name: str) -> None:
    found = assess(block_of(name))
    assert found.verdict == "already smooth"
    assert found.sharpness is not None
    assert found.sharpness.kernel_number <= 32.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ABDOMEN)
def test_real_b20f_slices_below_the_lungs_are_refused_as_no_chest(name: str) -> None:
    found = assess(block_of(name))
    assert found.verdict == "refuse"
    assert "not a chest CT" in found.reasons[0]


@pytest.mark.slow
@pytest.mark.parametrize("series", ["YA_BONE1mm", "UB_STD1mm"])
def test_a_head_is_refused_as_no_chest(series: str) -> None:
    folder = REAL_SCANS / "philips-head-ub-ya" / series
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    found = assess(halved(read_volume(folder)))
    assert found.verdict == "refuse"
    assert "not a chest CT" in found.reasons[0]


@pytest.mark.slow
@pytest.mark.parametrize("repeated", [1, 10])
def test_a_chest_phantom_is_refused_as_no_chest_however_long_it_is_made(repeated: int) -> None:
    from training.checking.real import read_stack

    folder = REAL_SCANS / "phantom-toshiba"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    one = halved(read_stack(Path(folder)).sharp)
    spacing = (5.0 if repeated > 1 else one.geometry.spacing[0], *one.geometry.spacing[1:])
    hu = np.tile(one.hu, (repeated, 1, 1))
    found = assess(CTVolume(hu, Geometry(spacing), one.acquisition, one.padding_value))
    assert found.verdict == "refuse"
    assert "not a chest CT" in found.reasons[0]


def test_the_abdomen_below_the_lungs_is_refused_as_no_chest(siemens_b70f: CTVolume) -> None:
    found = assess(part(siemens_b70f, 0, 16))
    assert found.verdict == "refuse"
    assert "not a chest CT, or lung is missing" in found.reasons[0]


@pytest.mark.parametrize("kernel", ["B20f", "B31f"])
def test_b70f_pixels_labelled_smooth_are_refused(sharp_part: CTVolume, kernel: str) -> None:
    found = assess(relabelled(sharp_part, kernel))
    assert found.verdict == "refuse"
    assert re.match(rf"The header says {kernel}, but the noise looks like B[5-8]\df\.", found.reasons[0])


def test_the_same_pixels_under_their_own_name_pass(sharp_part: CTVolume) -> None:
    assert assess(sharp_part).verdict == "in domain"


def test_smooth_pixels_labelled_b70f_are_said_and_left_alone(smooth_part: CTVolume) -> None:
    found = assess(relabelled(smooth_part, "B70f"))
    assert found.verdict == "already smooth"
    assert found.reasons[0].startswith("The header says B70f, but the noise looks like B2")
