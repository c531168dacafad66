"""Runs restoration and network over a volume, a few slices at a time, so that no further copy of the volume is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import ndimage

from ..arrays import BoolArray, FloatArray
from ..imaging.body import BodyRegion
from ..kernels.radial_filter import in_threads
from ..network.tiled_inference import NetworkRun, aligned_crop
from ..progress import Progress

# Slices (first to last) to the restored linear transfer of them and to what truncation took from them; see ``restore_slices``.
Restore = Callable[[slice], tuple[FloatArray, FloatArray]]
Box = tuple[slice, slice]
Item = TypeVar("Item")

STAGE = "Restoration and network"
# Restored together before the network sees them; bounds memory and the time between two looks at the cancel button.
CHUNK_SLICES = 16
# The network corrects only voxels within this distance of truncated ones. ``unet.GATE_REACH``, whose import loads torch.
REACH_PIXELS = 6
# Air around the body is restored without the network. The mask of the body is exact to a block of 2 mm; inside its border the
# network's correction starts at zero and increases gradually, so that no edge becomes visible.
BORDER_PIXELS, FADE_PIXELS = REACH_PIXELS + 4, 4


@dataclass(frozen=True)
class Correction:
    """What turns a volume into its normalized image.

    Attributes:
        hu: float32 (k, j, i), HU, as stored, padding as air.
        restore: gives the base of slices and what was lost in them.
        region: the body; ``None`` if there is none, so that the base is all.
        run: the residual network.
    """

    hu: FloatArray
    restore: Restore
    region: BodyRegion | None
    run: NetworkRun

    def over_volume(self, progress: Progress) -> FloatArray:
        """Normalized voxels: float32 (k, j, i), HU.

        Args:
            progress: advanced by finished slices.

        Raises:
            Cancelled: the user stopped the run.
        """
        out = np.empty_like(self.hu)
        progress.start(STAGE, len(out))
        for part in chunks(len(out)):
            self._chunk(part, out, progress)
        return out

    def _chunk(self, part: slice, out: FloatArray, progress: Progress) -> None:
        out[part], lost = self.restore(part)
        found = in_threads(lambda k: self._place(k, lost[k - part.start]), range(part.start, part.stop))
        places = [place for place in found if place is not None]
        progress.advance(len(lost) - len(places))

        def correct(group: Sequence[_Place]) -> int:
            self._correct(group, out, lost, part.start)
            return len(group)

        for count in over_groups(correct, places, self.run):
            progress.advance(count)

    def _place(self, k: int, lost: FloatArray) -> _Place | None:
        """Where slice ``k`` is corrected; ``None`` if nowhere."""
        if self.region is None or not self.region.slices_with_body[k]:
            return None
        weight = border_weight(self.region.body[k])
        box = span((weight > 0.0) & ndimage.maximum_filter(lost < 0.0, 2 * REACH_PIXELS + 1))
        return None if box is None else _Place(k, box, weight[box])

    def _correct(self, group: Sequence[_Place], out: FloatArray, lost: FloatArray, first: int) -> None:
        """Correct slices in ``out`` (k, j, i); ``lost`` begins at slice ``first``."""
        crop = aligned_crop(union([place.box for place in group]), (out.shape[1], out.shape[2]))
        stacks = ([x[(place.k - start, *crop)] for place in group] for x, start in ((self.hu, 0), (out, 0), (lost, first)))
        for place, made in zip(group, self.run.over_slices([np.stack(s) for s in stacks]), strict=True):
            inner = tuple(slice(b.start - c.start, b.stop - c.start) for b, c in zip(place.box, crop, strict=True))
            corrected = out[(place.k, *place.box)]
            corrected += place.weight * (made[inner] - corrected)


@dataclass(frozen=True)
class _Place:
    """Where one slice is corrected: its number, rows and columns, and the weight (rows, columns) of the correction there."""

    k: int
    box: Box
    weight: FloatArray


def restored_volume(restore: Restore, shape: tuple[int, int, int], progress: Progress) -> FloatArray:
    """The base alone: float32 (k, j, i), HU.

    Args:
        restore: gives the base of slices.
        shape: (k, j, i) of the volume.
        progress: advanced by finished slices.
    """
    out = np.empty(shape, np.float32)
    progress.start("Restoration", len(out))
    for part in chunks(len(out)):
        out[part] = restore(part)[0]
        progress.advance(part.stop - part.start)
    return out


def drawn_volume(hu: FloatArray, run: NetworkRun, progress: Progress) -> FloatArray:
    """What a direct network makes of ``hu`` (k, j, i), HU, with padding as air: float32 of the same shape, HU."""
    out = np.empty_like(hu)
    progress.start("Network", len(out))

    def draw(group: Sequence[int]) -> int:
        out[group[0] : group[-1] + 1] = run.over_slices([hu[group[0] : group[-1] + 1]])
        return len(group)

    for part in chunks(len(out)):
        for count in over_groups(draw, range(part.start, part.stop), run):
            progress.advance(count)
    return out


def over_groups(compute: Callable[[Sequence[Item]], int], items: Sequence[Item], run: NetworkRun) -> Iterator[int]:
    """``compute`` of ``items`` in the groups that suit what computes: all at once on a GPU, slice by slice on a CPU."""
    if run.backend.device == "cpu":
        yield from in_threads(compute, [items[n : n + 1] for n in range(len(items))], run.backend.streams)
    elif items:
        yield compute(items)


def chunks(count: int) -> Iterator[slice]:
    """Slices 0 to ``count`` a few at a time."""
    for first in range(0, count, CHUNK_SLICES):
        yield slice(first, min(first + CHUNK_SLICES, count))


def border_weight(body: BoolArray) -> FloatArray:
    """Weight (0 to 1) of the correction in one slice: 0 outside and near the border of ``body`` (rows, columns), 1 deep in it.

    A body that is cut off by the image's edge has no border there.
    """
    deep = ndimage.minimum_filter(body.astype(np.uint8), 2 * (BORDER_PIXELS + FADE_PIXELS // 2) + 1, mode="nearest")
    weight: FloatArray = ndimage.uniform_filter(deep.astype(np.float32), FADE_PIXELS + 1, mode="nearest")
    return weight


def span(mask: BoolArray) -> Box | None:
    """Smallest rows and columns that hold all of ``mask`` (rows, columns); ``None`` if it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def union(boxes: Sequence[Box]) -> Box:
    """Smallest rows and columns that hold all ``boxes``."""
    rows, columns = ([box[axis] for box in boxes] for axis in (0, 1))
    return (
        slice(min(r.start for r in rows), max(r.stop for r in rows)),
        slice(min(c.start for c in columns), max(c.stop for c in columns)),
    )
