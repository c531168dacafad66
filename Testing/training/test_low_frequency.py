"""How much of the low-frequency lift an image shows by the air beside its edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from KernelNormalizationLib.core.kernels.mtf import lift_curve
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.truncation.model import Truncation
from training.low_frequency import main, read_skin, read_trachea

PIXEL_MM, SIDE, NOISE_HU = 0.8, 320, 80.0


def scan(lift: float, images: int, rng: np.random.Generator) -> np.ndarray:
    """Two slices of a body with a trachea, by a kernel with a dip of ``lift``, cut off at -1024 HU in ``images`` images."""
    rows, columns = np.indices((SIDE, SIDE)) - 0.5 * (SIDE - 1)
    body = np.hypot(rows / 1.2, columns) < 90
    lumen = np.hypot(rows, columns) < 9.0 / PIXEL_MM
    objects = ndimage.gaussian_filter(np.where(body & ~lumen, 40.0, -1001.0), 0.7).astype(np.float32)
    image = apply_gain(objects[None], (PIXEL_MM, PIXEL_MM), lambda f: 1.0 / lift_curve(f, lift))
    noise = np.sqrt(images) * NOISE_HU * rng.standard_normal((images, 2, SIDE, SIDE), np.float32)
    return np.rint(Truncation.of_equal_images(images).store(image[None] + noise))


def to_smooth(frequency: np.ndarray) -> np.ndarray:
    return np.exp(-((frequency / 3.0) ** 2))


@pytest.mark.parametrize("lift", [0.0, 1.0])
@pytest.mark.parametrize("images", [1, 4])
def test_a_dip_is_read_through_truncation_beside_the_skin(lift: float, images: int) -> None:
    found = read_skin(scan(lift, images, np.random.default_rng(3)), PIXEL_MM, to_smooth)
    assert found is not None
    assert found.dip == pytest.approx(lift, abs=0.2)


def test_a_dip_is_read_in_the_trachea_where_clothes_do_not_matter() -> None:
    dips = []
    for lift in (-0.5, 0.0, 1.0):
        slices = np.concatenate([scan(lift, 2, np.random.default_rng(n)) for n in range(6)])
        found = read_trachea(slices, PIXEL_MM, to_smooth)
        assert found is not None
        assert found.stretches == 12
        dips.append(found.dip)
    assert dips == pytest.approx([-0.5, 0.0, 1.0], abs=0.25)


def test_a_picture_without_a_body_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    air = np.full((1, 64, 64), -1001.0, np.float32)
    assert read_skin(air, PIXEL_MM, to_smooth) is None
    assert read_trachea(air, PIXEL_MM, to_smooth) is None
    main([])
    assert "in shares of the measured lift" in capsys.readouterr().out
