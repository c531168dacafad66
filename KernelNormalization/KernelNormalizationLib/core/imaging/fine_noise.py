"""The finest noise of soft tissue in a slice, where anatomy is weak."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..arrays import BoolArray, FloatArray

# Soft tissue: where the mean of 3 x 3 blocks of this many pixels lies in this range, HU; strong noise leaves it there.
TISSUE_HU, BLOCK_PIXELS = (-50.0, 150.0), 8
# Edges stand out of the noise by more than this many standard deviations.
OUTLIER = 4.0


def fine_noise(image: FloatArray, block_pixels: int = BLOCK_PIXELS) -> tuple[FloatArray, BoolArray]:
    """Diagonal differences of 2 x 2 pixels of a slice, and where soft tissue is.

    Args:
        image: (j, i), HU, padding as air.
        block_pixels: side of the blocks that tell what is soft tissue; even.

    Returns:
        HU float32 and bool, both (j / 2, i / 2), what is left over by the blocks left out; outliers are clipped.
    """
    rows, columns = (n - n % block_pixels for n in image.shape)
    image = image[:rows, :columns]
    noise = 0.5 * (image[::2, ::2] - image[::2, 1::2] - image[1::2, ::2] + image[1::2, 1::2])
    blocks = image.reshape(rows // block_pixels, block_pixels, columns // block_pixels, block_pixels)
    mean = ndimage.uniform_filter(blocks.mean(axis=(1, 3)), 3)
    # a block of one value is no tissue but what a program filled in, such as 0 beyond the field of view
    seen = blocks.max(axis=(1, 3)) > blocks.min(axis=(1, 3))
    half = block_pixels // 2
    tissue = np.repeat(np.repeat((mean > TISSUE_HU[0]) & (mean < TISSUE_HU[1]) & seen, half, axis=0), half, axis=1)
    if tissue.any():
        limit = np.float32(OUTLIER * 1.4826 * np.median(np.abs(noise[tissue])))
        noise = np.clip(noise, -limit, limit)
    return noise, tissue
