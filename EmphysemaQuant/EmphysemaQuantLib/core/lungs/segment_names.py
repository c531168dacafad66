"""Names of segments: which structure of the lungs "Right lung", "lung_upper_lobe_left" or "RUL" names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

Structure = Literal["right lung", "left lung", "rul", "rml", "rll", "lul", "lll", "airways", "emphysema"]
STRUCTURES: tuple[Structure, ...] = get_args(Structure)
# Lobes of each side, in the numbering of ``LungMask.lobes``.
LOBES: Mapping[Structure, int] = {"rul": 1, "rml": 2, "rll": 3, "lul": 4, "lll": 5}
LOBES_OF: Mapping[Structure, tuple[Structure, ...]] = {"right lung": ("rul", "rml", "rll"), "left lung": ("lul", "lll")}

_SIDES = {"right": "r", "r": "r", "rt": "r", "left": "l", "l": "l", "lt": "l"}
_LEVELS = {"upper": "u", "superior": "u", "middle": "m", "lower": "l", "inferior": "l"}
_AIRWAYS = frozenset(("airways", "airway", "trachea", "bronchi", "bronchus", "tracheobronchial", "tree"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")


def structure_of(name: str) -> Structure | None:
    """The structure that a segment of this name shows; ``None`` if it is another one, or cannot be told.

    Sides, "upper", "middle", "lower" (or "superior", "inferior"), "lung" and "lobe" are read in any order and spelling:
    3D Slicer and its lung extensions write "right lung" and "left upper lobe", TotalSegmentator "lung_upper_lobe_left",
    the Chest Imaging Platform "RightSuperiorLobe". A further word ("right lung nodule") makes it another structure.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    kept = [word for word in words if word not in ("of", "the", "and")]
    if len(kept) == 1 and kept[0] in (*LOBES, "emphysema"):
        return next(structure for structure in STRUCTURES if structure == kept[0])
    if kept and set(kept) <= _AIRWAYS and kept != ["tree"]:
        return "airways"
    sides = [_SIDES[word] for word in kept if word in _SIDES]
    levels = [_LEVELS[word] for word in kept if word in _LEVELS]
    rest = {word for word in kept if word not in _SIDES and word not in _LEVELS}
    if len(sides) != 1 or not rest or len(levels) > 1 or not rest <= {"lung", "lungs", "pulmonary", "lobe"}:
        return None
    if not levels:
        whole: dict[str, Structure] = {"r": "right lung", "l": "left lung"}
        return None if "lobe" in rest or not rest & {"lung", "lungs"} else whole[sides[0]]
    if "lobe" not in rest:
        return None
    lobe = f"{sides[0]}{levels[0]}l"
    return next((structure for structure in LOBES if structure == lobe), None)
