"""What a running Slicer 5.13 answered about its Qt, ctk and qMRML classes: the only names the stand-in allows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FACTS_FILE = Path(__file__).with_name("slicer_facts.json")


@dataclass(frozen=True)
class ClassFacts:
    """One class as PythonQt shows it.

    Attributes:
        name: class name without module, such as ``QPushButton``.
        properties: name -> (type, writable).
        signals: normalized signatures, such as ``clicked(bool)``.
        slots: normalized signatures.
        names: every attribute name.
    """

    name: str
    properties: dict[str, tuple[str, bool]]
    signals: frozenset[str]
    slots: frozenset[str]
    names: frozenset[str]

    @property
    def signal_names(self) -> set[str]:
        """Names of the signals without arguments."""
        return {signature.split("(")[0] for signature in self.signals}


@cache
def load() -> dict[str, ClassFacts]:
    """All known classes by class name; objects that are no classes of their own by their expression."""
    content = json.loads(FACTS_FILE.read_text(encoding="utf-8"))["classes"]
    known = {}
    for key, entry in content.items():
        name = entry["class"] if key.split(".")[-1] == entry["class"] else key
        known[name] = ClassFacts(
            name,
            {p: (kind, writable) for p, (kind, writable) in entry["properties"].items()},
            frozenset(map(normalized, entry["signals"])),
            frozenset(map(normalized, entry["slots"])),
            frozenset(entry["names"]),
        )
    return known


@cache
def module_names(module: str) -> frozenset[str]:
    """Names that ``qt``, ``ctk``, ``slicer (q*)``, ``slicer.modules`` or ``slicer.util`` have."""
    return frozenset(json.loads(FACTS_FILE.read_text(encoding="utf-8"))["modules"][module])


def of(class_name: str) -> ClassFacts:
    """Facts of a class.

    Raises:
        LookupError: Slicer's answer for this class is not recorded; add it to the facts file.
    """
    try:
        return load()[class_name]
    except KeyError:
        raise LookupError(f"No facts are recorded for {class_name}; the stand-in allows only recorded classes.") from None


def normalized(signature: str) -> str:
    """A Qt signature without spaces, ``const`` and ``&``."""
    return signature.replace("const ", "").replace("&", "").replace(" ", "")
