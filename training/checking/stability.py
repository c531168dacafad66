"""Checks that smooth scans and scans that were normalized before are hardly changed."""

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
# Header of a smooth Siemens series: with its kernel, or as in a file format that keeps no header.
TAGGED = Acquisition("B20f", "SIEMENS", modality="CT")
UNTAGGED = Acquisition()


@dataclass(frozen=True)
class Scan:
    """A volume with its lungs.

    Attributes:
        name: name in the table.
        volume: the scan.
        lungs: boolean (k, j, i).
    """

    name: str
    volume: CTVolume
    lungs: BoolArray


def simulated_scans(folder: Path, limit: int) -> tuple[list[Scan], list[Scan]]:
    """Sharp and smooth volumes of the first ``limit`` pairs of ``folder``; short blocks are mirrored to eight slices.

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
    """Slice indices that extend ``slices`` slices by mirroring to the eight that a volume needs."""
    missing = max(0, MINIMUM_SLICES - slices)
    return np.pad(np.arange(slices), (0, missing), mode="reflect" if slices > 1 else "edge")


def smooth_scans_stay(methods: Methods, scans: Sequence[Scan], facts: Acquisition | None, how: str) -> Findings:
    """Scans that are smooth already hardly change.

    Args:
        methods: methods to check.
        scans: smooth scans.
        facts: acquisition data that replace their own, or ``None`` to keep their own.
        how: what the header says, in words for the table.
    """
    for scan in scans:
        volume = scan.volume if facts is None else replace(scan.volume, acquisition=facts)
        for label, normalizer in methods.items():
            yield from _moved(SMOOTH_CHECK, f"{scan.name}, {how}", label, volume, normalized(normalizer, volume), scan.lungs)


def twice_is_once(methods: Methods, scans: Sequence[Scan]) -> Findings:
    """Normalizing a normalized scan again hardly changes it, whatever its header says.

    Three versions are tried: as the product returns it (marked as synthetic); rounded to integers and without a header; and
    with the sharp kernel in the header and no mark as synthetic.
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
