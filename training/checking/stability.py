"""Checks that nothing is done twice: smooth scans stay, and a normalized scan normalized again stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.volume import MINIMUM_SLICES, Acquisition, CTVolume

from ..evaluation.cases import find_cases, load_case
from .outcomes import Findings, Methods, Outcome, normalized

SMOOTH_CHECK, TWICE_CHECK = "smooth input stays", "twice is once"
MOVED_LIMIT_HU = 2.0
# How a smooth Siemens series may come: with its tag, or from a file that keeps none.
TAGGED = Acquisition("B20f", "SIEMENS", modality="CT")
UNTAGGED = Acquisition()


@dataclass(frozen=True)
class Scan:
    """A volume with its lungs.

    Attributes:
        name: for the table.
        volume: the scan.
        lungs: boolean (k, j, i).
    """

    name: str
    volume: CTVolume
    lungs: BoolArray


def simulated_scans(folder: Path, limit: int) -> tuple[list[Scan], list[Scan]]:
    """The sharp and the smooth volumes of the first ``limit`` pairs of ``folder``, blocks of few slices mirrored to eight.

    Raises:
        InputError: the folder holds no pairs, or one is damaged.
    """
    sharp, smooth = [], []
    for path in find_cases(folder)[:limit]:
        case = load_case(path)
        hu = case.smooth.hu[mirrored_order(case.slices)]
        partner = replace(case.sharp, hu=hu, acquisition=TAGGED, name=f"{case.name} B20f")
        sharp.append(Scan(case.name, case.sharp, case.lung.mask))
        smooth.append(Scan(case.name, partner, case.lung.mask))
    return sharp, smooth


def mirrored_order(slices: int) -> NDArray[np.int_]:
    """Indices that continue ``slices`` slices by mirroring up to the eight that a volume needs."""
    missing = max(0, MINIMUM_SLICES - slices)
    return np.pad(np.arange(slices), (0, missing), mode="reflect" if slices > 1 else "edge")


def smooth_scans_stay(methods: Methods, scans: Sequence[Scan], facts: Acquisition | None, how: str) -> Findings:
    """Scans that are smooth already hardly change.

    Args:
        methods: what is checked.
        scans: smooth scans.
        facts: acquisition to give them instead of their own, or ``None``.
        how: in words, what the product is told.
    """
    for scan in scans:
        volume = scan.volume if facts is None else replace(scan.volume, acquisition=facts)
        for label, normalizer in methods.items():
            yield from _moved(SMOOTH_CHECK, f"{scan.name}, {how}", label, volume, normalized(normalizer, volume), scan.lungs)


def twice_is_once(methods: Methods, scans: Sequence[Scan]) -> Findings:
    """Normalizing a normalized scan hardly changes it, whatever its file still says of it.

    Three ways back in: as the product returns it (synthetic); from a foreign file of integers without any header; and from
    one that still bears the sharp kernel's tag and no sign of being synthetic.
    """
    for scan in scans:
        for label, normalizer in methods.items():
            once = normalized(normalizer, scan.volume)
            foreign = replace(once, hu=np.rint(once.hu), synthetic=False)
            ways = {
                "marked synthetic": once,
                "without header": replace(foreign, acquisition=UNTAGGED),
                f"still tagged {scan.volume.acquisition.kernel}": replace(foreign, acquisition=scan.volume.acquisition),
            }
            for how, volume in ways.items():
                again = normalized(normalizer, volume)
                yield from _moved(TWICE_CHECK, f"{scan.name}, {how}", label, volume, again, scan.lungs)


def _moved(check: str, case: str, label: str, before: CTVolume, after: CTVolume, lungs: BoolArray) -> Findings:
    change = np.abs(after.hu - before.hu)
    for region, mask in (("image", ~before.padding_mask), ("lungs", lungs)):
        yield Outcome(check, f"{case}, {region}", label, float(change[mask].mean(dtype=np.float64)), "HU", MOVED_LIMIT_HU)
