"""SHA-256 of files and of voxels."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.input_files import open_file

# The numbers that are hashed: the same on every machine, and those that every volume of this project has.
_VOXEL_TYPES = {"f": "<f4", "u": "<u1", "b": "<u1"}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def voxels_sha256(voxels: NDArray[Any]) -> str:
    """SHA-256 of an image's voxels, hexadecimal; 0.2 s for 300 slices of 512 x 512.

    It stays the same when the image is written to another kind of file or with another compression, and changes with a single
    voxel. Hashed are the words ``f4 k j i`` (or ``u1 k j i``) and a line feed, then the voxels with i running fastest.

    Args:
        voxels: HU as float32 (k, j, i), or a mask: bool or uint8 (k, j, i).

    Raises:
        TypeError: other numbers; convert them first, so that it is clear which ones are meant.
    """
    kind = _VOXEL_TYPES.get(voxels.dtype.kind)
    if kind is None or voxels.dtype.itemsize != np.dtype(kind).itemsize:
        raise TypeError(f"cannot hash {voxels.dtype}: float32, uint8 or bool")
    ordered = np.ascontiguousarray(voxels, dtype=kind)
    digest = hashlib.sha256(f"{kind[1:]} {' '.join(map(str, ordered.shape))}\n".encode())
    digest.update(ordered.data.cast("B"))
    return digest.hexdigest()
