"""Tables of the loss by truncation: mean and variance of true minus stored value, given local mean, noise and stored value.

With t = (mean - floor) / s and u = (stored - floor) / s, s the noise SD of one image, everything depends on t and u alone.
An image with weight w and noise z contributes w max(t + z, 0) to u and w min(t + z, 0) to the loss. For a given common part of
the noise the images are independent, so the distribution of their sum is a convolution: of the distributions of the
contributions, and for the loss of their first two moments where the image was cut (derivation: docs/methods/truncation.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from ..arrays import FloatArray
from ..stopping import check_stopped
from .model import Truncation

Curve = NDArray[np.float64]

# t from well below the floor to where nothing is cut any more, u up to where what was lost is under 1 % of s.
T_STEP, U_STEP = 0.1, 0.05
T_RANGE = (-2.5, 7.0)
U_LIMIT = 6.0
# Sums are tabulated on a finer grid that holds their whole distribution (t + 6 SD), so that none wraps round.
FINE = 2
SUM_LIMIT = 14.0
EDGE_STEP = U_STEP / FINE
# Images whose weight makes a standard deviation of fewer than two cells are not rounded to cells (18 equal ones still are).
SMALL_SCALE = 2.0 * EDGE_STEP
# Nodes of the Gauss-Hermite rule over the noise that all images share: the more of it, the sharper is what remains.
LEAST_NODES, NODES_PER_CORRELATION = 9, 40
# Below this probability per cell the moments are numerical dust.
LEAST_MASS = 1e-9


@dataclass(frozen=True)
class LossTable:
    """Tables of one truncation; rows are t, columns u, in units of one image's noise SD.

    Attributes:
        t: (rows,), what the rows stand for.
        loss: float32 (rows, columns), mean of true minus stored value (at most 0); column 0 holds u = 0, all images cut.
        variance: float32 (rows, columns), its variance.
        cumulated: (rows, edges), probability that u lies below (edge + 0.5) EDGE_STEP; all images cut included.
        atom: (rows,), probability that all images were cut.
        mean: (rows,), of u.
        sd: (rows,), of u.
    """

    t: Curve
    loss: FloatArray
    variance: FloatArray
    cumulated: Curve
    atom: Curve
    mean: Curve
    sd: Curve

    @classmethod
    def of(cls, truncation: Truncation) -> LossTable:
        """The tables of ``truncation``; those of the same weights and correlation are made once."""
        return _table(tuple(round(w, 4) for w in truncation.weights), round(truncation.correlation, 4))

    def t_of(self, ratio: Curve) -> Curve:
        """t at which the SD of the stored value is ``ratio`` times its mean above the floor; the ratio falls with t."""
        known = self.sd / self.mean
        result: Curve = np.interp(-ratio, -known, self.t)
        return result

    def sd_of(self, t: Curve) -> Curve:
        """SD of the stored value at ``t``, in units of one image's noise SD."""
        result: Curve = np.interp(t, self.t, self.sd)
        return result

    def probability_below(self, t: FloatArray, u: FloatArray) -> FloatArray:
        """Probability that a voxel of (n,) is stored below ``u`` > 0; bilinear."""
        rows, edges = self.cumulated.shape
        row, down = _place((t - T_RANGE[0]) / T_STEP, rows)
        column, across = _place(u / EDGE_STEP - 0.5, edges)
        first, second = (
            self.cumulated[row + n, column] * (1.0 - across) + self.cumulated[row + n, column + 1] * across for n in (0, 1)
        )
        return np.asarray(first * (1.0 - down) + second * down, np.float32)

    def look_up(self, t: FloatArray, u: FloatArray, at_floor: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of the loss for voxels (n,); linear in t, nearest in u."""
        rows, columns = self.loss.shape
        row, part = _place((t - np.float32(T_RANGE[0])) / np.float32(T_STEP), rows)
        column = np.clip((u / np.float32(U_STEP) + np.float32(0.5)).astype(np.int32), 1, columns - 1)
        column[at_floor] = 0
        index = row * columns + column
        results = []
        for table in (self.loss, self.variance):
            flat = table.reshape(-1)
            low = flat[index]
            results.append(low + part * (flat[index + columns] - low))
        return results[0], results[1]


def _place(where: FloatArray, size: int) -> tuple[NDArray[np.int32], FloatArray]:
    """Index of the node before ``where`` on a grid of ``size`` nodes, and how far beyond it (0 to 1)."""
    inside = np.clip(where, 0.0, np.float32(size - 1.001)).astype(np.float32)
    index = inside.astype(np.int32)
    return index, inside - index


@lru_cache(maxsize=128)
def _table(weights: tuple[float, ...], correlation: float) -> LossTable:
    t = np.arange(T_RANGE[0], T_RANGE[1] + T_STEP / 2, T_STEP)
    nodes = LEAST_NODES + int(NODES_PER_CORRELATION * correlation) if correlation > 0.0 else 1
    shared, share = special.roots_hermitenorm(nodes)
    share = share / share.sum()
    step = EDGE_STEP
    cells = fft.next_fast_len(int(SUM_LIMIT / step))
    mass, first, second = (np.zeros((t.size, cells)) for _ in range(3))
    atom = np.zeros((3, t.size))
    for q, probability in zip(shared, share, strict=True):
        check_stopped()  # one table takes up to some seconds
        height = (t + np.sqrt(correlation) * q) / np.sqrt(1.0 - correlation)
        sums, edge = _given_shared(height, np.sqrt(1.0 - correlation), np.asarray(weights), step, cells)
        for total, part in zip((mass, first, second), sums, strict=True):
            total += probability * part
        atom += probability * edge
    u = np.arange(cells) * step
    mean = mass @ u
    sd = np.sqrt(np.maximum(mass @ u**2 - mean**2, 1e-12))
    # All images cut is a case apart: the cell at u = 0 holds it beside the smallest sums.
    for total, part in zip((mass, first, second), atom, strict=True):
        total[:, 0] -= part
    columns = int(U_LIMIT / U_STEP) + 1
    coarse = [_rebinned(total, columns) for total in (mass, first, second)]
    for total, part in zip(coarse, atom, strict=True):
        total[:, 0] = part
    loss, variance = _moments(*coarse)
    edges = int(U_LIMIT / EDGE_STEP)
    return LossTable(t, loss, variance, np.cumsum(mass[:, :edges], axis=1) + atom[0][:, None], atom[0], mean, sd)


def _given_shared(
    height: Curve, scale: float, weights: Curve, step: float, cells: int
) -> tuple[tuple[Curve, Curve, Curve], Curve]:
    """Sums over images that are independent: normal of mean ``height`` and SD 1 in units of ``scale``.

    Returns:
        probability of u, and with it multiplied mean and mean square of the loss, (rows, cells); the same three of the atom.
    """
    below = special.ndtr(-height)
    density = np.exp(-0.5 * height**2) / np.sqrt(2.0 * np.pi)
    # Moments of min(height + z, 0).
    once = scale * (height * below - density)
    twice = scale**2 * ((height**2 + 1.0) * below - height * density)
    distinct, counts = np.unique(weights, return_counts=True)
    spectra = [_contribution(height, scale * w, step, cells) + below[:, None] for w in distinct]

    def product(*without: int) -> NDArray[np.complex128]:
        """Of all images but some, named by the place of their weight."""
        powers = counts - np.bincount(np.asarray(without, int), minlength=counts.size)
        factors = [spectrum**power for spectrum, power in zip(spectra, powers, strict=True)]
        return np.asarray(np.prod(factors, axis=0) if len(factors) > 1 else factors[0])

    everything, first, second = product(), np.zeros_like(spectra[0]), np.zeros_like(spectra[0])
    for n, (one, count) in enumerate(zip(distinct, counts, strict=True)):
        others = product(n)
        first += count * one * once[:, None] * others
        second += count * one**2 * twice[:, None] * others
        for m, (two, partners) in enumerate(zip(distinct, counts - (np.arange(counts.size) == n), strict=True)):
            if partners:
                second += count * partners * one * two * once[:, None] ** 2 * product(n, m)
    sums = tuple(fft.irfft(x, n=cells, axis=1) for x in (everything, first, second))
    count = len(weights)
    pairs = 1.0 - float(np.sum(weights**2))
    atom = np.stack(
        [
            below**count,
            once * below ** (count - 1),
            np.sum(weights**2) * twice * below ** (count - 1) + (pairs * once**2 * below ** (count - 2) if count > 1 else 0.0),
        ]
    )
    return (sums[0], sums[1], sums[2]), atom


def _contribution(height: Curve, scale: float, step: float, cells: int) -> NDArray[np.complex128]:
    """Spectrum of the distribution of ``scale`` (height + z) where positive, on cells centred at multiples of ``step``."""
    if scale < SMALL_SCALE:
        return np.asarray(fft.rfft(_shared_out(height, scale, step, cells), axis=1))
    edges = (np.arange(cells + 1) - 0.5) * step
    edges[0] = 0.0
    cumulated = special.ndtr(edges[None, :] / scale - height[:, None])
    return np.asarray(fft.rfft(np.diff(cumulated, axis=1), axis=1))


def _shared_out(height: Curve, scale: float, step: float, cells: int) -> Curve:
    """The same distribution (rows, cells), each value shared by the two cells about it so that its mean stays.

    Rounded to the nearest cell, the contributions of images of little weight would vanish.
    """
    at = np.arange(cells + 1) * step
    v = at[None, :] / scale - height[:, None]
    # Twice integrated density: with F the distribution, the integral of F(x) - F(0) from 0 to x.
    rise = scale * (v * special.ndtr(v) + np.exp(-0.5 * v * v) / np.sqrt(2.0 * np.pi))
    area = rise - rise[:, :1] - at[None, :] * special.ndtr(-height)[:, None]
    shared = np.empty((height.size, cells))
    shared[:, 0] = area[:, 1]
    shared[:, 1:] = area[:, 2:] - 2.0 * area[:, 1:-1] + area[:, :-2]
    return shared / step


def _rebinned(fine: Curve, columns: int) -> Curve:
    """Cells of the lookup, centred at its multiples, from cells ``FINE`` times finer; half a cell falls to either side."""
    padded = np.pad(fine[:, : columns * FINE], ((0, 0), (FINE // 2, FINE)))
    kernel = np.ones(FINE + 1)
    kernel[[0, -1]] = 0.5
    total = np.zeros((fine.shape[0], columns))
    for n, part in enumerate(kernel):
        total += part * padded[:, n : n + columns * FINE : FINE]
    # What lies between zero and the first cell's edge belongs to the first column above the floor.
    total[:, 1] += total[:, 0]
    total[:, 0] = 0.0
    return total


def _moments(mass: Curve, first: Curve, second: Curve) -> tuple[FloatArray, FloatArray]:
    known = mass > LEAST_MASS
    loss = np.where(known, first / np.where(known, mass, 1.0), np.nan)
    square = np.where(known, second / np.where(known, mass, 1.0), np.nan)
    for table in (loss, square):
        # Far from the mean the table has no values; the nearest one with the same u is used.
        for column in table.T:
            seen = np.flatnonzero(~np.isnan(column))
            column[:] = np.interp(np.arange(column.size), seen, column[seen]) if seen.size else 0.0
    loss = np.minimum(loss, 0.0)
    return loss.astype(np.float32), np.maximum(square - loss**2, 0.0).astype(np.float32)
