"""Training patches: what one network step sees, from simulated pairs or from a real sharp scan alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.radial import apply_gain
from KernelNormalizationLib.core.volume import FloatArray

# Around each patch this margin is filtered too, so that the mirrored edge of the crop never reaches the patch.
MARGIN = 32


@dataclass(frozen=True)
class Patch:
    """One training example; every image is float32 (rows, columns), HU.

    Attributes:
        sharp: as the scanner stored it, floor applied.
        base: linear transfer of ``sharp`` to B20f.
        target: the B20f image, clipped at -1024.
        weight: 0 where the target is not known, else 1; float32 (rows, columns).
        floor: HU at or below which a voxel counts as truncated.
    """

    sharp: FloatArray
    base: FloatArray
    target: FloatArray
    weight: FloatArray
    floor: float


class PatchSource(Protocol):
    """Draws patches; everything random comes from ``rng``, so a step can be repeated exactly."""

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        """One patch of ``size`` x ``size`` pixels."""


@dataclass(frozen=True)
class Batch:
    """Tensors (n, 1, rows, columns) in HU; ``floor`` is (n, 1, 1, 1)."""

    sharp: Tensor
    base: Tensor
    target: Tensor
    weight: Tensor
    floor: Tensor

    @classmethod
    def stack(cls, patches: Sequence[Patch]) -> Batch:
        """Batch of equally sized patches."""

        def images(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(p, name) for p in patches])[:, None])

        floors = torch.tensor([p.floor for p in patches], dtype=torch.float32).view(-1, 1, 1, 1)
        return cls(images("sharp"), images("base"), images("target"), images("weight"), floors)


@dataclass(frozen=True)
class MixedSource:
    """Chooses one of several sources for every patch.

    Attributes:
        sources: what to choose from.
        shares: probability of each, in the same order.
    """

    sources: tuple[PatchSource, ...]
    shares: tuple[float, ...]

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        chosen = int(rng.choice(len(self.sources), p=np.asarray(self.shares) / sum(self.shares)))
        return self.sources[chosen].sample(rng, size)


def draw_batch(source: PatchSource, seed: int, step: int, rank: int, size: int, count: int) -> Batch:
    """The batch of training step ``step``: a function of its arguments alone, so that a resumed run repeats it.

    Args:
        source: where patches come from.
        seed: of the whole run.
        step: number of the optimizer step.
        rank: of this process among several.
        size: rows and columns of a patch.
        count: patches in the batch.
    """
    rng = np.random.default_rng([seed, step, rank])
    return Batch.stack([source.sample(rng, size) for _ in range(count)])


def oriented(image: FloatArray, turn: int) -> FloatArray:
    """``image`` in one of the eight orientations of a square (``turn`` 0 to 7)."""
    flipped = image[:, ::-1] if turn >= 4 else image
    return np.ascontiguousarray(np.rot90(flipped, turn % 4))


def filtered(image: FloatArray, pixel_mm: float, gain: Any) -> FloatArray:
    """Linear transfer of one crop (rows, columns), HU."""
    return np.asarray(apply_gain(image[None], (pixel_mm, pixel_mm), gain)[0])


def inner(image: FloatArray) -> FloatArray:
    """The patch inside its margin."""
    return np.ascontiguousarray(image[MARGIN:-MARGIN, MARGIN:-MARGIN])


def crop_corner(rng: np.random.Generator, centre: tuple[int, int], shape: tuple[int, int], size: int) -> tuple[int, int]:
    """First row and column of a crop of ``size`` near ``centre`` that lies inside ``shape``, jittered by a quarter."""
    if size > min(shape):
        raise InputError(
            f"A patch with its margin is {size} pixels, the slices are {shape[0]} x {shape[1]}; use smaller patches."
        )
    jitter = rng.integers(-size // 4, size // 4 + 1, 2)
    rows, columns = (int(np.clip(c + j - size // 2, 0, n - size)) for c, j, n in zip(centre, jitter, shape, strict=True))
    return rows, columns


def patient_files(folder: Path) -> list[Path]:
    """Simulated patients of a data set folder, sorted by name."""
    return sorted((folder / "patients").glob("*.npz"))
