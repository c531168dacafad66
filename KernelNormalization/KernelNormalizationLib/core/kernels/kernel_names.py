"""Interprets the reconstruction kernel in the header: maker, family, nominal sharpness, kind of reconstruction.

The same name means different things to different makers (Philips B is a smooth kernel, Siemens B a family of kernels), so the
maker is determined first. Facts without a source stay ``None``; the sources of the named kernels are in ``kernel_names.csv``.

Siemens names consist of the letter or letters of the family, two digits of sharpness and one letter for rotation speed or
processing (B70f, Br40d); a second value is the strength of an iterative reconstruction (I70f\\3). Families: B body, H head,
C child's head, D dual energy, S special, U ultra high resolution; I, J and Q are B, H and D with iterative reconstruction
(SAFIRE). Sources: operating
instructions of the Somatom Sensation ("B10s extremely soft ... B80s" for "higher sharpness") and, for the two-letter families
of later scanners (r regular, f fine, l lung, v vascular, c crisp, p paediatric, Q quantitative),
https://www.diagnosticradphys.com/physicspulse/ct (2025).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from ..volume import Acquisition
from .told_kernel import kernel_in_use

Maker = Literal["Siemens", "GE", "Philips", "Canon"]
SharpnessClass = Literal["smooth", "medium", "sharp", "very sharp"]
Reconstruction = Literal["filtered back-projection", "iterative", "deep learning"]

_PATH = Path(__file__).with_name("kernel_names.csv")
_MAKERS: tuple[tuple[str, Maker], ...] = (
    (r"SIEMENS", "Siemens"),
    (r"\bGE\b|GENERAL ELECTRIC", "GE"),
    (r"PHILIPS", "Philips"),
    (r"CANON|TOSHIBA", "Canon"),
)
# Upper limits of the sharpness classes: of Siemens numbers, and of the mean frequency (lp/cm) of the noise spectrum. The mean
# frequency of the published spectra is 2.4 to 3.5 for B10f to B35f, 3.7 to 4.4 for B40f to B45f, 4.9 and 5.2 for B46f and B50f,
# 5.6 to 6.6 for B60f to B80f; GE soft 3.5, standard 4.0, chest and detail 4.5 and 4.9, lung 5.6, bone, boneplus and edge 7.8 to
# 10.4. So the same limits suit both makers.
_CLASS_ENDS: tuple[tuple[float, SharpnessClass], ...] = ((35, "smooth"), (45, "medium"), (59, "sharp"), (999, "very sharp"))
CLASS_MEAN_LP_PER_CM: tuple[tuple[float, SharpnessClass], ...] = ((3.6, "smooth"), (4.4, "medium"), (5.5, "sharp"))
# Some archives lose the separator before the strength (Br40d3).
_SIEMENS = re.compile(r"([A-Z][a-z]?)(\d{2})[a-z]?(\d?)")
_SIEMENS_ITERATIVE_LETTERS = {"I": "SAFIRE", "J": "SAFIRE", "Q": "SAFIRE"}
# A second value is the strength of ADMIRE, on the photon-counting scanner (NAEOTOM Alpha) that of QIR.
_PHOTON_COUNTING = "NAEOTOM"
_SIEMENS_FILTERED_LETTERS = ("B", "H", "C", "D", "S", "U")
_CANON = re.compile(r"F[CL]\d{2}")
# Product names to look for in the kernel, the image type and the reconstruction fields of the header: pattern, product, kind of
# reconstruction, and the maker if the pattern holds for one maker only.
_MARKS: tuple[tuple[str, str, Reconstruction, Maker | None], ...] = (
    (r"TRUE ?FIDELITY|DLIR", "TrueFidelity", "deep learning", None),
    (r"AICE", "AiCE", "deep learning", None),
    (r"PIQE", "PIQE", "deep learning", "Canon"),
    (r"PRECISE ?IMAGE", "Precise Image", "deep learning", "Philips"),
    (r"DEEP[ _]?LEARNING", "deep learning", "deep learning", None),
    (r"SAFIRE", "SAFIRE", "iterative", None),
    (r"ADMIRE", "ADMIRE", "iterative", None),
    (r"\bIRIS\b", "IRIS", "iterative", "Siemens"),
    (r"\bQIR\b", "QIR", "iterative", "Siemens"),
    (r"\bASI?R[ -]?V", "ASiR-V", "iterative", None),
    (r"ASI?R(?![A-Z])", "ASiR", "iterative", None),
    (r"\b(?:AR|SS|AV)\d{1,3}\b", "ASiR", "iterative", "GE"),
    (r"\b(?:VEO|MBIR)\b", "Veo", "iterative", None),
    (r"IDOSE", "iDose", "iterative", None),
    (r"\bIMR", "IMR", "iterative", None),
    (r"AIDR", "AIDR 3D", "iterative", None),
    (r"\bFIRST\b", "FIRST", "iterative", "Canon"),
    (r"ITERATIVE", "iterative", "iterative", None),
    (r"FILTER(?:ED)?[ _]BACK[ _-]?PROJ", "filtered back-projection", "filtered back-projection", None),
)


@dataclass(frozen=True)
class KernelName:
    """What the name of a scan's kernel says; ``None`` for what is unknown.

    Attributes:
        name: the kernel as the user or the header names it, without the strength; ``None`` if neither names one.
        maker: maker of the scanner, from the header's Manufacturer; if that is missing, from a kernel that only one maker has.
        family: family of kernels, such as ``"B"`` or ``"Br"`` of Siemens and ``"FC"`` of Canon.
        number: sharpness number of a Siemens or Canon kernel; numbers of different families cannot be compared.
        sharpness: nominal sharpness class.
        reconstruction: kind of reconstruction.
        algorithm: product name and strength of the reconstruction, such as ``"SAFIRE 3"``.
        source: source of the sharpness class.
    """

    name: str | None = None
    maker: Maker | None = None
    family: str | None = None
    number: int | None = None
    sharpness: SharpnessClass | None = None
    reconstruction: Reconstruction | None = None
    algorithm: str | None = None
    source: str | None = None

    def in_words(self) -> str:
        """One phrase for the user, such as ``"Siemens B70f, very sharp, filtered back-projection"``."""
        named = " ".join(part for part in (self.maker, self.name) if part) or "kernel unknown"
        made = f"{self.reconstruction} ({self.algorithm})" if self.algorithm else self.reconstruction
        return ", ".join(part for part in (named, self.sharpness, made) if part)


def maker_of(manufacturer: str | None) -> Maker | None:
    """The maker that the header's Manufacturer names; ``None`` if it is missing or names another."""
    text = (manufacturer or "").upper()
    return next((maker for pattern, maker in _MAKERS if re.search(pattern, text)), None)


def kernel_name(acquisition: Acquisition) -> KernelName:
    """Interpret the kernel and the header fields of ``acquisition``; a kernel named by the user replaces the header's."""
    maker = maker_of(acquisition.manufacturer)
    values = [part.strip() for part in (kernel_in_use(acquisition) or "").split("\\") if part.strip()]
    found = _READERS[maker](values) if maker is not None else _read_nameless(values, acquisition.manufacturer)
    if _PHOTON_COUNTING in (acquisition.scanner_model or "").upper() and found.algorithm is not None:
        found = replace(found, algorithm=found.algorithm.replace("ADMIRE", "QIR"))
    texts = (
        *(part for part in (acquisition.kernel or "").split("\\")),
        *acquisition.image_type,
        acquisition.reconstruction or "",
    )
    marked = _marked(" ".join(texts).upper(), found.maker)
    if marked is None:
        return found
    made, algorithm = marked
    return KernelName(
        found.name, found.maker, found.family, found.number, found.sharpness, made, found.algorithm or algorithm, found.source
    )


def sharpness_of_number(number: float) -> SharpnessClass:
    """Sharpness class of a Siemens kernel number."""
    return next(name for end, name in _CLASS_ENDS if number <= end)


@lru_cache(maxsize=1)
def named_kernels() -> dict[tuple[str, str], tuple[SharpnessClass | None, str]]:
    """Class and source for each (maker, kernel), for makers that give kernels names instead of numbers."""
    classes: dict[str, SharpnessClass | None] = {"": None, **{name: name for name in get_args(SharpnessClass)}}
    with _PATH.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {(row["maker"], row["kernel"]): (classes[row["sharpness"]], row["source"]) for row in rows}


def _read_siemens(values: list[str]) -> KernelName:
    match = _siemens_match(values[0]) if values else None
    if match is None:
        return KernelName(values[0] if values else None, "Siemens")
    family, number = match.group(1), int(match.group(2))
    strength = next((value for value in (match.group(3), *values[1:]) if value.isdigit() and int(value) > 0), None)
    algorithm = _SIEMENS_ITERATIVE_LETTERS.get(family, "ADMIRE" if strength is not None else None)
    made: Reconstruction | None = "iterative" if algorithm is not None else None
    if algorithm is None and family in _SIEMENS_FILTERED_LETTERS:
        made = "filtered back-projection"
    named = None if algorithm is None else " ".join(part for part in (algorithm, strength) if part)
    source = "number of the name; classes cut by published noise spectra"
    name = values[0].removesuffix(match.group(3))
    return KernelName(name, "Siemens", family, number, sharpness_of_number(number), made, named, source)


def _siemens_match(name: str) -> re.Match[str] | None:
    return _SIEMENS.fullmatch(name[0].upper() + name[1:])


def _read_ge(values: list[str]) -> KernelName:
    name = values[0] if values else None
    bare = (name or "").upper().replace(" ", "").replace("_", "").removesuffix("2")
    sharpness, source = named_kernels().get(("GE", bare), (None, None))
    if sharpness is None:
        without_hd = bare.removeprefix("HD").removesuffix("HD")
        sharpness, source = named_kernels().get(("GE", without_hd), (None, None))
    return KernelName(name, "GE", None, None, sharpness, None, None, source)


def _read_philips(values: list[str]) -> KernelName:
    name = values[0] if values else None
    sharpness, source = named_kernels().get(("Philips", (name or "").upper()), (None, None))
    return KernelName(name, "Philips", None, None, sharpness, None, None, source)


def _read_canon(values: list[str]) -> KernelName:
    name = values[0] if values else None
    match = _CANON.match((name or "").upper())
    if match is None:
        return KernelName(name, "Canon")
    family, number = match.group()[:2], int(match.group()[2:])
    sharpness, source = named_kernels().get(("Canon", match.group()), (None, None))
    return KernelName(name, "Canon", family, number, sharpness, None, None, source)


def _read_nameless(values: list[str], manufacturer: str | None) -> KernelName:
    """If the header names no maker, interpret only names that a single maker uses; kernels of other makers stay unknown."""
    if not values or manufacturer is not None:
        return KernelName(values[0] if values else None)
    if _siemens_match(values[0]):
        return _read_siemens(values)
    if _CANON.match(values[0].upper()):
        return _read_canon(values)
    if len(values[0]) > 2 and _read_ge(values).sharpness is not None:
        return _read_ge(values)
    return KernelName(values[0])


_READERS: dict[Maker, Callable[[list[str]], KernelName]] = {
    "Siemens": _read_siemens,
    "GE": _read_ge,
    "Philips": _read_philips,
    "Canon": _read_canon,
}


def _marked(text: str, maker: Maker | None) -> tuple[Reconstruction, str | None] | None:
    for pattern, algorithm, made, of in _MARKS:
        if (of is None or of == maker) and re.search(pattern, text):
            return made, None if algorithm == made else algorithm
    return None
