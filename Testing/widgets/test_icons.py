"""The module icons at the size of Slicer's module list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SMALL = (16, 16)


def small(module: str) -> np.ndarray:
    """The icon at 16 x 16 pixels on white, luminance 0 to 255."""
    picture = Image.open(ROOT / module / "Resources" / "Icons" / f"{module}.png").convert("RGBA")
    icon = picture.resize(SMALL, Image.Resampling.LANCZOS)
    white = Image.new("RGBA", SMALL, "white")
    white.alpha_composite(icon)
    return np.asarray(white.convert("L"), dtype=float)


def test_the_two_modules_are_told_apart_at_16_pixels_by_lightness_alone() -> None:
    difference = np.abs(small("KernelNormalization") - small("EmphysemaQuant"))
    assert difference.mean() > 50.0
