"""Numbers of lung label maps: numberings of known tools, and detection of the one that fits the positions in the scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.body import CLIP_HU, COARSE_MM, coarse_body, padded_blocks
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.imaging.reduced_grid import ReducedGrid
from KernelNormalizationLib.core.volume import CTVolume

from .left_right import LEFT, RIGHT

Scheme = Literal[
    "lungmask",
    "left-right",
    "lungmask-lobes",
    "lobes-right-first",
    "totalsegmentator",
    "totalsegmentator-v1",
    "cip",
    "cip-lobes",
    "cip-thirds",
    "luna16",
    "binary",
]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
OPTION = "--mask-labels"

RUL, RML, RLL, LUL, LLL = 1, 2, 3, 4, 5
LOBES_OF_SIDE: Mapping[int, tuple[int, ...]] = {RIGHT: (RUL, RML, RLL), LEFT: (LUL, LLL)}
# What --mask-labels may name; lobes as in ``Numbering.lobes``.
LOBE_NAMES: Mapping[str, int] = {"rul": RUL, "rml": RML, "rll": RLL, "lul": LUL, "lll": LLL}
# A mask of one number and no side: 1, and the 255 of image programs.
BINARY_NUMBERS = (1, 255)
# Own choices: lungs and airways hold air, other organs do not; the airways of an adult that are labelled hold less than this,
# and a lung or lobe on its own side lies with its middle this far from the body's midline.
AERATED_HU = -500.0
AIRWAYS_ML, AIRWAYS_HU = 200.0, -850.0
SIDE_MM = 10.0
# Own choice: the middle four fifths of one lung are up to 90 mm wide in the test chests, of both lungs together 190 mm.
WIDEST_LUNG_MM = 150.0


@dataclass(frozen=True)
class Numbering:
    """Which numbers of a label file mean which structure.

    Attributes:
        right: numbers of the whole right lung.
        left: numbers of the whole left lung.
        lobes: number -> lobe (1 RUL, 2 RML, 3 RLL, 4 LUL, 5 LLL).
        airways: numbers of trachea and bronchi.
    """

    right: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    lobes: Mapping[int, int] | None = None
    airways: tuple[int, ...] = ()

    def of_side(self, side: int) -> frozenset[int]:
        """All numbers that lie in the right (1) or left (2) lung."""
        lobes = (number for number, lobe in (self.lobes or {}).items() if lobe in LOBES_OF_SIDE[side])
        return frozenset((*(self.right if side == RIGHT else self.left), *lobes))

    @property
    def lungs(self) -> frozenset[int]:
        """All numbers of lung."""
        return self.of_side(RIGHT) | self.of_side(LEFT)

    @property
    def known(self) -> frozenset[int]:
        """All numbers with a meaning."""
        return self.lungs | frozenset(self.airways)


# lungmask: R231 and LTRCLobes models; TotalSegmentator: class maps of task "total" v2 and v1; CIP: chest region codes;
# LUNA16: the challenge's lung masks. The numbers 1 and 2 are in use both ways round, and with 3 for the trachea.
NUMBERINGS: Mapping[Scheme, Numbering] = {
    "lungmask": Numbering(right=(1,), left=(2,), airways=(3,)),
    "left-right": Numbering(right=(2,), left=(1,), airways=(3,)),
    "lungmask-lobes": Numbering(lobes={1: LUL, 2: LLL, 3: RUL, 4: RML, 5: RLL}),
    "lobes-right-first": Numbering(lobes={1: RUL, 2: RML, 3: RLL, 4: LUL, 5: LLL}),
    "totalsegmentator": Numbering(lobes={10: LUL, 11: LLL, 12: RUL, 13: RML, 14: RLL}, airways=(16,)),
    "totalsegmentator-v1": Numbering(lobes={13: LUL, 14: LLL, 15: RUL, 16: RML, 17: RLL}, airways=(43,)),
    "cip": Numbering(right=(2,), left=(3,)),
    "cip-lobes": Numbering(lobes={4: RUL, 5: RML, 6: RLL, 7: LUL, 8: LLL}),
    "cip-thirds": Numbering(right=(12, 13, 14), left=(9, 10, 11)),
    "luna16": Numbering(right=(4,), left=(3,), airways=(5,)),
}
# Maps of the whole body: numbers beyond the lungs' are other organs.
WHOLE_BODY: tuple[Scheme, ...] = ("totalsegmentator", "totalsegmentator-v1")


@dataclass(frozen=True)
class Place:
    """Position and density of the voxels of a number.

    Attributes:
        ml: volume.
        hu: median HU.
        left_mm: middle, mm to the patient's left of the body's midline.
        up_mm: middle, mm towards the head.
        reach_mm: from where to where the middle four fifths of its voxels lie, mm to the patient's left of the midline.
    """

    ml: float
    hu: float
    left_mm: float
    up_mm: float
    reach_mm: tuple[float, float]

    @property
    def aerated(self) -> bool:
        """Whether its HU are those of lung or airway."""
        return self.hu < AERATED_HU


def places_of(volume: CTVolume, labels: NDArray[np.integer]) -> dict[int, Place]:
    """Position and density of each number except 0, measured on every second voxel if that leaves no number out.

    Args:
        volume: the CT.
        labels: integer (k, j, i) in the volume's stored order, with at least one number that is not 0.
    """
    frame = Canonical.of(volume.geometry)
    whole = frame.forward(labels)
    step = 2 if np.array_equal(np.unique(whole[::2, ::2, ::2]), np.unique(whole)) else 1
    numbers, hu = whole[::step, ::step, ::step], frame.forward(volume.filled())[::step, ::step, ::step]
    middle = midline_mm(volume)
    k, _, i = np.nonzero(numbers)
    values = numbers[numbers != 0]
    order = np.argsort(values, kind="stable")
    starts = np.searchsorted(values[order], found := np.unique(values))
    under = hu[numbers != 0]
    places = {}
    for number, where in zip(found, np.split(order, starts[1:]), strict=True):
        left_mm = step * i[where] * frame.spacing[2] - middle
        low, high = np.percentile(left_mm, (10, 90))
        places[int(number)] = Place(
            ml=step**3 * where.size * volume.geometry.voxel_volume_ml,
            hu=float(np.median(under[where])),
            left_mm=float(left_mm.mean()),
            up_mm=step * float(k[where].mean()) * frame.spacing[0],
            reach_mm=(float(low), float(high)),
        )
    return places


def midline_mm(volume: CTVolume) -> float:
    """Middle of the body along the patient's left, mm from the first canonical column."""
    frame = Canonical.of(volume.geometry)
    hu = frame.forward(volume.filled())
    grid = ReducedGrid.near(hu.shape, frame.spacing, 2 * COARSE_MM)
    body = coarse_body(grid.mean(hu, *CLIP_HU), grid.spacing, padded_blocks(volume, frame, grid))
    if not body.any():
        return float(0.5 * hu.shape[2] * frame.spacing[2])
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    return float(0.5 * (columns[0] + columns[-1] + 1) * grid.spacing[2])


def detect_scheme(volume: CTVolume, labels: NDArray[np.integer]) -> Scheme:
    """Numbering of a label map, found from its numbers, their positions and the HU under them.

    Args:
        volume: the CT.
        labels: integer (k, j, i) in its stored order.

    Raises:
        InputError: the mask is empty, or its numbers fit none or several schemes.
    """
    present = {int(v) for v in np.unique(labels)} - {0}
    if not present:
        raise InputError("The mask is empty: every voxel is 0. Give another file, or leave the mask out.")
    if len(present) == 1 and present <= set(BINARY_NUMBERS):
        return "binary"
    places = places_of(volume, labels)
    fitting = [scheme for scheme in NUMBERINGS if _fits(scheme, places)]
    if len(fitting) == 1:
        return fitting[0]
    raise InputError(
        f"The label map holds the numbers {_shortened(present)}, and the positions of their voxels "
        f"{'fit several tools (' + ', '.join(fitting) + ')' if fitting else 'fit no known tool'}; say which with "
        f"{OPTION} and one of: {', '.join(SCHEMES)}, or the numbers themselves, such as right=1,left=2."
    )


def _fits(scheme: Scheme, places: Mapping[int, Place]) -> bool:
    numbering = NUMBERINGS[scheme]
    lungs = numbering.lungs & places.keys()
    if scheme in WHOLE_BODY:
        # the versions share numbers for different organs, of which only lungs and airways hold air
        aerated = {n for n in places.keys() & set(range(9, 18)) if places[n].aerated}
        return len(lungs & aerated) >= 2 and aerated <= numbering.known and lungs <= aerated and in_place(numbering, places)
    if not places.keys() <= numbering.known or len(lungs) < 2 or not all(places[n].aerated for n in lungs):
        return False
    if scheme == "cip-thirds" and not numbering.lungs <= places.keys():
        return False  # without 9 they are TotalSegmentator's lobes
    lobes = {lobe for n, lobe in (numbering.lobes or {}).items() if n in places}
    if any(lobes & set(of_side) and not {of_side[0], of_side[-1]} <= lobes for of_side in LOBES_OF_SIDE.values()):
        return False  # tools number all lobes of a lung
    air = [places[n] for n in numbering.airways if n in places]
    return all(p.ml < AIRWAYS_ML and p.hu < AIRWAYS_HU for p in air) and in_place(numbering, places)


def in_place(numbering: Numbering, places: Mapping[int, Place]) -> bool:
    """Whether right and left are on the patient's right and left, and every upper lobe is above the lower one of its side."""
    right, left = (_middle(places, numbering.of_side(side)) for side in (RIGHT, LEFT))
    if right is None or left is None:
        # with one side only, every part must lie on that side: both lungs together would be near the middle
        apart = all(
            sign * places[n].left_mm > SIDE_MM
            for side, sign in ((RIGHT, -1), (LEFT, 1))
            for n in numbering.of_side(side)
            if n in places
        )
    else:
        apart = left - right > 2 * SIDE_MM and _beside(numbering, places)
    lobes = {lobe: places[n].up_mm for n, lobe in (numbering.lobes or {}).items() if n in places}
    pairs = ((RUL, RLL), (RUL, RML), (LUL, LLL))
    stacked = all(lobes[upper] > lobes[lower] for upper, lower in pairs if upper in lobes and lower in lobes)
    # a lobe lies on the side of its lung
    right_lobes, left_lobes = ([n for n in numbering.of_side(s) if n in places] for s in (RIGHT, LEFT))
    parted = all(places[a].left_mm < places[b].left_mm for a in right_lobes for b in left_lobes)
    return apart and stacked and parted


def _beside(numbering: Numbering, places: Mapping[int, Place]) -> bool:
    """Whether each whole lung lies beside the other: a number on both sides is both lungs, and the other one a part of them."""
    right, left = ([places[n].reach_mm for n in numbers if n in places] for numbers in (numbering.right, numbering.left))
    narrow = all(high - low < WIDEST_LUNG_MM for low, high in (*right, *left))
    return narrow and all(of_right[1] < of_left[0] for of_right in right for of_left in left)


def _middle(places: Mapping[int, Place], numbers: Iterable[int]) -> float | None:
    """Common centre of several numbers, mm to the left of the midline; ``None`` if none of them occurs."""
    found = [places[n] for n in numbers if n in places]
    total = sum(p.ml for p in found)
    return sum(p.ml * p.left_mm for p in found) / total if total > 0 else None


def parse_labels(text: str) -> Scheme | Numbering:
    """What ``--mask-labels`` says: a scheme's name, or numbers such as ``right=1,left=2,airways=3`` or ``rul=1,rml=2,…``.

    Several numbers of one structure are joined by ``+``.

    Raises:
        InputError: neither.
    """
    text = text.strip().lower()
    if text in SCHEMES:
        return text
    meanings: dict[str, tuple[int, ...]] = {}
    for entry in text.split(","):
        name, equals, numbers = (part.strip() for part in entry.partition("="))
        if not equals or name not in ("right", "left", "airways", *LOBE_NAMES) or name in meanings:
            raise _unknown(text)
        try:
            meanings[name] = tuple(int(number) for number in numbers.split("+"))
        except ValueError:
            raise _unknown(text) from None
    given = [number for numbers in meanings.values() for number in numbers]
    if len(set(given)) != len(given) or min(given) < 1:
        raise InputError(f"In {OPTION} {text} a number is 0 or negative, or stands for two structures; give each number once.")
    lobes = {number: lobe for name, lobe in LOBE_NAMES.items() for number in meanings.get(name, ())}
    right, left, airways = (meanings.get(name, ()) for name in ("right", "left", "airways"))
    return Numbering(right, left, lobes or None, airways)


def _unknown(text: str) -> InputError:
    return InputError(
        f"{OPTION} {text} is not understood; give one of {', '.join(SCHEMES)}, or numbers, such as right=1,left=2,airways=3 "
        "or rul=1,rml=2,rll=3,lul=4,lll=5."
    )


def _shortened(numbers: set[int]) -> str:
    shown = ", ".join(str(n) for n in sorted(numbers)[:12])
    return shown + (", …" if len(numbers) > 12 else "")
