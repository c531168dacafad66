"""Training patches: what one network step sees, drawn at random or from a fixed set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain

# Around a patch that is filtered by itself this margin is filtered too, so that the mirrored edge never reaches the patch.
MARGIN = 32


@dataclass(frozen=True)
class Patch:
    """One training example; every image is float32 (rows, columns), HU.

    Attributes:
        sharp: as the scanner stored it, floor applied.
        base: what the network corrects, the linear transfer of the restored ``sharp`` to B20f.
        lost: what truncation took, estimated true minus stored value; at most 0.
        target: the B20f image, clipped at -1024.
        weight: 0 where the target is not known, else 1; float32 (rows, columns).
    """

    sharp: FloatArray
    base: FloatArray
    lost: FloatArray
    target: FloatArray
    weight: FloatArray

    def turned(self, turn: int) -> Patch:
        """The patch in one of the eight orientations of a square (``turn`` 0 to 7)."""
        return Patch(*(oriented(getattr(self, image.name), turn) for image in fields(self)))


class PatchSource(Protocol):
    """Draws patches; everything random comes from ``rng``, so a step can be repeated exactly."""

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        """One patch of ``size`` x ``size`` pixels."""


class Cutter(Protocol):
    """Cuts patches at given places."""

    def cut(self, k: int, top: int, left: int, size: int, turn: int = 0) -> Patch:
        """The patch of slice ``k`` with that corner, in one of eight orientations."""


@dataclass(frozen=True)
class Batch:
    """The images of patches as tensors (n, 1, rows, columns), HU; see :class:`Patch`."""

    sharp: Tensor
    base: Tensor
    lost: Tensor
    target: Tensor
    weight: Tensor

    @classmethod
    def stack(cls, patches: Sequence[Patch]) -> Batch:
        """Batch of equally sized patches."""

        names = [image.name for image in fields(cls)]
        return cls(*(torch.from_numpy(np.stack([getattr(p, name) for p in patches])[:, None]) for name in names))


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


class BatchStream(Protocol):
    """The batches of a run. A batch is a function of its step, so that a resumed run repeats it, and the processes' batches of
    a step together are what one process with a batch so much larger would see."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every patch was seen once; 0 for a stream without end."""

    def draw(self, step: int, rank: int) -> Batch:
        """Batch of process ``rank`` in step ``step``."""


@dataclass(frozen=True)
class RandomBatches:
    """Patches drawn anew in every step.

    Attributes:
        source: where patches come from.
        seed: of the whole run.
        size: rows and columns of a patch.
        count: patches a step and process.
    """

    source: PatchSource
    seed: int
    size: int
    count: int
    steps_per_epoch: int = 0

    def draw(self, step: int, rank: int) -> Batch:
        return draw_batch(self.source, self.seed, step, rank, self.size, self.count)


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
    numbers = range(rank * count, (rank + 1) * count)
    return Batch.stack([source.sample(np.random.default_rng([seed, step, number]), size) for number in numbers])


@dataclass(frozen=True)
class EpochBatches:
    """A fixed set of patches, the same number from every patient, in a new order every epoch (paper, section 2.2).

    Attributes:
        patients: the patients.
        places: int (n, 4): patient, slice, first row, first column; no two overlap.
        seed: of the order.
        size: rows and columns of a patch.
        count: patches a step and process.
        processes: how many share a step; the rest of an epoch that fills no step is left out of it.
    """

    patients: tuple[Cutter, ...]
    places: NDArray[np.int64]
    seed: int
    size: int
    count: int
    processes: int = 1

    @property
    def steps_per_epoch(self) -> int:
        return len(self.places) // (self.count * self.processes)

    def draw(self, step: int, rank: int) -> Batch:
        epoch, within = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.places))
        first = (within * self.processes + rank) * self.count
        chosen = self.places[order[first : first + self.count]]
        return Batch.stack([self.patients[p].cut(k, top, left, self.size) for p, k, top, left in chosen.tolist()])


def choose_places(shape: tuple[int, int, int], size: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Corners of ``count`` random patches of one volume that do not overlap.

    Every slice gets a grid of cells with a random offset; the cells are drawn without replacement.

    Args:
        shape: (k, j, i) of the volume.
        size: rows and columns of a patch.
        count: how many.
        rng: source of chance.

    Returns:
        int (count, 3): slice, first row, first column.

    Raises:
        InputError: so many do not fit.
    """
    cells = [n // size for n in shape[1:]]
    fitting = shape[0] * cells[0] * cells[1]
    if count > fitting:
        raise InputError(
            f"{count} patches of {size} x {size} pixels were asked for, but a volume of {shape[0]} x {shape[1]} x "
            f"{shape[2]} holds {fitting} that do not overlap; ask for fewer or smaller patches."
        )
    offsets = np.stack([rng.integers(0, n - c * size + 1, shape[0]) for n, c in zip(shape[1:], cells, strict=True)], axis=1)
    grid = np.indices((shape[0], cells[0], cells[1])).reshape(3, -1).T[rng.choice(fitting, count, replace=False)]
    return np.column_stack([grid[:, 0], grid[:, 1:] * size + offsets[grid[:, 0]]])


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
