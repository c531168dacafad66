"""Which series of a study is normalized, which is its soft partner, and why the others are left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.filters import noise_sd
from KernelNormalizationLib.core.io.dicom_kind import is_map, is_virtual
from KernelNormalizationLib.core.io.dicom_pixels import read_pixels
from KernelNormalizationLib.core.kernels.kernel_names import kernel_name
from KernelNormalizationLib.core.plain_text import plain
from KernelNormalizationLib.core.volume import MINIMUM_SLICES

from .case import LeftOut
from .series_scan import SeriesFound

# Own choices: a chest is longer, and slices thicker than this were not tested.
SHORTEST_MM = 120.0
THICKEST_MM = 5.0
_NOT_AXIAL = ("LOCALIZER", "MPR", "MIP", "MINIP", "AVERAGE", "VRT", "SSD", "SCREEN SAVE", "PROJECTION IMAGE", "CSAPARALLEL")
_NOT_CHEST = ("HEAD", "BRAIN", "SKULL", "NECK", "ABDOMEN", "PELVIS", "LEG", "KNEE", "FOOT", "HAND", "ARM", "LSPINE", "CSPINE")
# Whatever else a body part names: these hold the lungs.
_CHEST = ("CHEST", "THORA", "THORX", "LUNG", "TORSO", "TRUNK", "WHOLEBODY", "WHOLE BODY", "HEART", "CARDIAC")
# Reconstructions of one acquisition lie on the same slices to this, mm.
_SAME_MM = 0.05
# Wide, so that a sharp kernel's noise is not cut off where it is compared.
_TISSUE_HU = (-250.0, 300.0)


@dataclass(frozen=True)
class Choice:
    """A series to normalize and, where there is one, its soft partner."""

    scan: SeriesFound
    partner: SeriesFound | None = None


def unfit(series: SeriesFound, thickest_mm: float = THICKEST_MM) -> str | None:
    """Why a series is no chest CT to normalize, as far as its header says; ``None`` if it may be one."""
    facts = series.facts
    kinds = " ".join(facts.image_type).upper()
    thickness = facts.slice_thickness_mm or series.step_mm
    body = (facts.body_part or "").upper()
    reasons = (
        (facts.modality not in (None, "CT"), f"The modality is {facts.modality}, not CT."),
        (any(word in kinds for word in _NOT_AXIAL), f"The image type is {plain(kinds, 60)}: no axial reconstruction."),
        (is_map(facts.image_type), f"The image type is {plain(kinds, 60)}: a map, whose values are not HU."),
        (series.derived and "SECONDARY" in kinds, "The images were computed from others (image type derived)."),
        (
            any(word in body for word in _NOT_CHEST) and not any(word in body for word in _CHEST),
            f"The body part is {plain(body, 30)}.",
        ),
        (series.images < MINIMUM_SLICES, f"It has {series.images} image(s); at least {MINIMUM_SLICES} are needed."),
        (
            series.length_mm is not None and series.length_mm < SHORTEST_MM,
            f"It covers {series.length_mm or 0:.0f} mm; a chest is longer than {SHORTEST_MM:g} mm.",
        ),
        (thickness is not None and thickness > thickest_mm, f"Its slices are {thickness or 0:g} mm thick (--thickest)."),
    )
    return next((text for is_so, text in reasons if is_so), None)


def choose(series: Sequence[SeriesFound], every: bool) -> tuple[list[Choice], list[LeftOut]]:
    """Choose among the fit series of one study.

    Reconstructions on the same slices belong to one acquisition: the sharpest is normalized, the softest is its partner. Of
    several acquisitions or thicknesses the thinnest is taken.

    Args:
        series: of one study, at least one.
        every: take every acquisition and thickness, not the thinnest alone.
    """
    virtual = [item for item in series if is_virtual(item.facts.image_type)]
    ordinary = [item for item in series if item not in virtual]
    left_out = []
    if virtual and ordinary:
        series, reason = ordinary, "The images are virtual ones; an ordinary series of the study is taken."
        left_out += [LeftOut(shown(item), reason) for item in virtual]
    groups = _same_slices(series)
    groups.sort(key=lambda group: (round(group[0].step_mm or 99.0, 2), -group[0].images, group[0].uid))
    if not every:
        for group in groups[1:]:
            reason = "Another series of the study is thinner or longer (--all-series takes both)."
            left_out += [LeftOut(shown(item), reason) for item in group]
        groups = groups[:1]
    choices = []
    for group in groups:
        ordered = _by_sharpness(group)
        choices.append(Choice(ordered[-1], ordered[0] if len(ordered) > 1 else None))
        between = "A sharper and a softer reconstruction of the same slices are taken."
        left_out += [LeftOut(shown(item), between) for item in ordered[1:-1]]
    return choices, left_out


def shown(series: SeriesFound) -> str:
    """A series in a line; its folder, which may hold a name, is not told."""
    facts = series.facts
    step = f"{series.step_mm:.2g} mm" if series.step_mm else "unknown distance"
    scanner = " ".join(part for part in (facts.manufacturer, facts.scanner_model) if part) or "unknown scanner"
    return plain(f"{scanner}, kernel {facts.kernel or 'unknown'}, {series.images} images, {step}, UID {series.uid}")


def _same_slices(series: Sequence[SeriesFound]) -> list[list[SeriesFound]]:
    by_grid: dict[tuple[object, ...], list[list[SeriesFound]]] = defaultdict(list)
    for item in sorted(series, key=lambda s: s.uid):
        groups = by_grid[(item.grid, item.images)]
        home = next((group for group in groups if _close(group[0].extent, item.extent)), None)
        if home is None:
            groups.append([item])
        else:
            home.append(item)
    return [group for groups in by_grid.values() for group in groups]


def _close(one: list[float], other: list[float]) -> bool:
    return bool(one) and bool(other) and max(abs(a - b) for a, b in zip(one, other, strict=True)) < _SAME_MM


def _by_sharpness(group: list[SeriesFound]) -> list[SeriesFound]:
    """Softest first: by the kernels' numbers where all have one, else by the noise of the middle slices."""
    if len(group) == 1:
        return group
    names = {item.uid: kernel_name(item.facts) for item in group}
    # only Siemens' numbers grow with sharpness
    numbers = {uid: name.number if name.maker == "Siemens" else None for uid, name in names.items()}
    if None not in numbers.values() and len(set(numbers.values())) == len(group):
        return sorted(group, key=lambda item: numbers[item.uid] or 0)
    noise = {item.uid: _noise(item) for item in group}
    return sorted(group, key=lambda item: (noise[item.uid], item.uid))


def _noise(series: SeriesFound) -> float:
    """Noise of three slices in soft tissue, HU; 0 where they cannot be read, which is said when the series is."""
    files = sorted(Path(folder) / name for folder, names in series.places.items() for name in names)
    middle = len(files) // 2
    try:
        hu = np.stack([read_pixels(path) for path in files[middle - 1 : middle + 2]]).astype(np.float32)
    except (InputError, OSError, ValueError):
        return 0.0
    return noise_sd(hu, (hu > _TISSUE_HU[0]) & (hu < _TISSUE_HU[1]))
