"""Numbers that a command measured, kept for the documents in ``training/results/measured/NAME.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.io.writing import atomic_path


@dataclass(frozen=True)
class Number:
    """One number.

    Attributes:
        value: as measured, all digits.
        decimals: that a page shows.
        what: what it is, with its unit, for a table.
    """

    value: float
    decimals: int
    what: str


@dataclass
class ResultNumbers:
    """The numbers of one run, by the keys that pages ask for."""

    numbers: dict[str, Number] = field(default_factory=dict)

    def add(self, key: str, value: float, decimals: int, what: str) -> None:
        """Keep a number."""
        self.numbers[key] = Number(float(value), decimals, what)

    def write(self, path: Path, command: str) -> None:
        """Write a results file, with how the numbers came about.

        Args:
            path: JSON file.
            command: that measures them, without names of this machine's folders.
        """
        # matplotlib comes with it, which a measurement of memory must not hold
        from .report import Provenance

        provenance = asdict(Provenance.now(command, {}))
        content = {"use": RESEARCH_USE, "provenance": provenance, "numbers": {k: asdict(n) for k, n in self.numbers.items()}}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
