"""Applies the network to slices: whole slices in batches, tiles if memory is short, the CPU if the GPU has too little."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import CTKernelError
from ..progress import Progress
from .backends import Backend, BackendMemoryError

logger = logging.getLogger(__name__)

# The network pools three times by 2. Tiles whose origin and size are multiples of 8 are pooled in the same 2 x 2 blocks as the
# whole slice.
ALIGNMENT = 8
# Margin of a tile, pixels. It covers the receptive field (44) and the reach of the gate (6), so tiles give exactly the result
# of whole slices.
HALO = 48
LARGEST_TILE, SMALLEST_TILE = 256, 64
# Estimated memory; the measured peak of the fp32 network (16 to 128 feature maps) is 0.6 kB per pixel.
BYTES_PER_PIXEL = 1000
MEMORY_SHARE = 0.5
# Larger batches were not faster (on the CPU 0.101 s per slice with 1, 2 and 4 slices at once).
LARGEST_BATCH = {"cpu": 1, "mps": 4, "cuda": 16}


@dataclass
class NetworkRun:
    """Runs a backend over slices, adapts batch and tile size to the memory, and records what it used.

    Attributes:
        backend: the backend in use.
        cpu_fallback: creates a CPU backend, used if the GPU cannot hold even the smallest tile.
        batch: slices computed at once; 0 until the first call has chosen it.
        tile: side of a tile in pixels; 0 for whole slices.
        warnings: sentences for the user.
    """

    backend: Backend
    cpu_fallback: Callable[[], Backend] | None = None
    batch: int = 0
    tile: int = 0
    warnings: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def _state(self) -> tuple[int, int, int]:
        return id(self.backend), self.batch, self.tile

    def over_slices(self, images: Sequence[FloatArray], progress: Progress | None = None) -> FloatArray:
        """Network output for slices.

        Args:
            images: the network's inputs (see :attr:`Model.inputs`), each (n, rows, columns), HU.
            progress: advanced by the number of finished slices; cancellation is checked between batches. ``None`` if several
                threads call this.

        Returns:
            float32 (n, rows, columns), HU.
        """
        count, rows, columns = images[0].shape
        widths = ((0, 0), (0, -rows % ALIGNMENT), (0, -columns % ALIGNMENT))
        if widths[1:] != ((0, 0), (0, 0)):
            images = [np.pad(x, widths, mode="edge") for x in images]
        stacks = [x[:, None] for x in images]
        out = np.empty((count, rows, columns), np.float32)
        self.batch = self.batch or self._first_batch(stacks[0][0].size)
        done = 0
        while done < count:
            if progress is not None:
                progress.check_cancelled()
            tried = self._state
            part = slice(done, done + self.batch)
            try:
                result = self._whole([x[part] for x in stacks])
            except (BackendMemoryError, MemoryError) as error:
                with self._lock:  # if several threads ran out of memory at once, only the first reduces the size
                    if self._state == tried:
                        self._shrink(error)
                continue
            out[part] = result[:, 0, :rows, :columns]
            finished = len(result)
            done += finished
            if progress is not None:
                progress.advance(finished)
        return out

    def as_record(self) -> dict[str, Any]:
        """For provenance."""
        return {
            "device": self.backend.device,
            "backend": self.backend.name,
            "precision": self.backend.precision,
            "batch": self.batch,
            "tile": self.tile or None,
        }

    def _whole(self, images: Sequence[FloatArray]) -> FloatArray:
        if not self.tile:
            return self.backend.run(*(np.ascontiguousarray(x) for x in images))
        return tiled(self.backend, images, self.tile)

    def _first_batch(self, pixels: int) -> int:
        free = self.backend.free_bytes()
        largest = LARGEST_BATCH.get(self.backend.device, 1)
        return largest if free is None else int(np.clip(free * MEMORY_SHARE / (pixels * BYTES_PER_PIXEL), 1, largest))

    def _shrink(self, error: Exception) -> None:
        if self.batch > 1:
            self.batch //= 2
            logger.warning("Out of memory; continuing with %d slices at once", self.batch)
        elif not self.tile:
            self.tile = LARGEST_TILE
            logger.warning("Out of memory with one slice; continuing in tiles of %d pixels", self.tile)
        elif self.tile > SMALLEST_TILE:
            self.tile //= 2
            logger.warning("Out of memory; continuing in tiles of %d pixels", self.tile)
        elif self.cpu_fallback is not None and self.backend.device != "cpu":
            message = f"The GPU ({self.backend.device}) ran out of memory even for small tiles; the CPU computed the rest."
            logger.warning(message)
            self.warnings.append(message)
            self.backend, self.cpu_fallback, self.batch, self.tile = self.cpu_fallback(), None, 1, 0
        else:
            raise CTKernelError(
                f"There is not enough memory even for tiles of {SMALLEST_TILE} pixels ({error}); "
                "close other programs and try again."
            ) from error


def tiled(backend: Backend, images: Sequence[FloatArray], tile: int) -> FloatArray:
    """Apply the network to overlapping tiles; the result is identical to that of whole slices.

    Args:
        backend: computes each tile.
        images: the network's inputs, each (n, 1, rows, columns), HU, with sides that are multiples of 8.
        tile: side of a tile without its margin, a multiple of 8.
    """
    rows, columns = images[0].shape[2:]
    out = np.empty_like(images[0])
    for top in range(0, rows, tile):
        for left in range(0, columns, tile):
            outer_r, inner_r = _extent(top, tile, rows)
            outer_c, inner_c = _extent(left, tile, columns)
            window = (slice(None), slice(None), outer_r, outer_c)
            result = backend.run(*(np.ascontiguousarray(x[window]) for x in images))
            out[:, :, top : top + tile, left : left + tile] = result[:, :, inner_r, inner_c]
    return out


def aligned_crop(box: tuple[slice, slice], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Enlarge ``box`` (rows, columns) by the margin and to multiples of 8 within ``shape``, so that its inside stays exact."""

    def grown(part: slice, size: int) -> slice:
        start = max(0, part.start - HALO) // ALIGNMENT * ALIGNMENT
        stop = min(size, -(-(part.stop + HALO) // ALIGNMENT) * ALIGNMENT)
        return slice(start, stop)

    return grown(box[0], shape[0]), grown(box[1], shape[1])


def _extent(start: int, tile: int, size: int) -> tuple[slice, slice]:
    first, last = max(0, start - HALO), min(size, start + tile + HALO)
    stop = min(size, start + tile)
    return slice(first, last), slice(start - first, stop - first)
