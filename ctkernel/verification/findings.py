"""What a verification found, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from KernelNormalizationLib.core.provenance.hashes import sha256_of
from KernelNormalizationLib.core.provenance.manifest import seal_is_broken, versions

# "note": said, but no sign for or against; such as another version of a library that gives the same voxels.
Status = Literal["agrees", "differs", "note"]
OLDER = "the record is of an earlier version of this software, which wrote none"


@dataclass(frozen=True)
class Finding:
    """One thing that was compared.

    Attributes:
        subject: what, in one or two words.
        status: whether it agrees.
        text: a sentence for the user.
    """

    subject: str
    status: Status
    text: str


@dataclass
class Verification:
    """What was found so far.

    Attributes:
        findings: in the order of looking.
        numbers: name -> number or text, for programs.
    """

    findings: list[Finding] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def reproduces(self) -> bool:
        """Whether nothing differs."""
        return all(finding.status != "differs" for finding in self.findings)

    def agrees(self, subject: str, text: str) -> None:
        """Add what agrees."""
        self.findings.append(Finding(subject, "agrees", text))

    def differs(self, subject: str, text: str) -> None:
        """Add what does not agree; the record is then not reproduced."""
        self.findings.append(Finding(subject, "differs", text))

    def note(self, subject: str, text: str) -> None:
        """Add what the user should know."""
        self.findings.append(Finding(subject, "note", text))

    def check(self, subject: str, same: bool, texts: tuple[str, str]) -> bool:
        """Add the first of ``texts`` if it is the ``same``, else the second; returns ``same``."""
        self.findings.append(Finding(subject, "agrees" if same else "differs", texts[0] if same else texts[1]))
        return same


def check_seal(record: Mapping[str, Any], found: Verification) -> None:
    """Add whether the record is as it was written."""
    broken = seal_is_broken(record)
    if broken is None:
        found.note("record", f"Whether the record was changed is not known: it holds no hash of itself; {OLDER}.")
    else:
        texts = ("The record is as it was written.", "The record was changed after it was written.")
        found.check("record", not broken, texts)


def check_files(manifest: Mapping[str, Any], folder: Path, found: Verification) -> None:
    """Add whether each file of the set is there and as it was written."""
    files: Mapping[str, str] = manifest.get("files") or {}
    if not files:
        found.note("files", f"Whether the files beside the record were changed is not known: there are no hashes; {OLDER}.")
    for name, expected in files.items():
        file = folder / Path(name).name
        if not file.is_file():
            found.differs("files", f"{file.name} of the recorded result is missing.")
        else:
            same = sha256_of(file) == expected
            found.check("files", same, (f"{file.name} is as it was written.", f"{file.name} was changed after it was written."))


def check_versions(record: Mapping[str, Any], backend: str | None, found: Verification) -> None:
    """Add which versions are others than those on record; that alone is no difference of the result."""
    from KernelNormalizationLib.core.version import VERSION

    told = {"CTKernelNormalization": record.get("version"), **(record.get("versions") or {})}
    now = {"CTKernelNormalization": VERSION, **versions(backend)}
    others = [
        f"{name} {told[name]} then, {now.get(name, 'none')} now" for name in told if told[name] and told[name] != now.get(name)
    ]
    if others:
        found.note("versions", f"Other versions: {'; '.join(others)}.")
    elif record.get("versions"):
        found.agrees("versions", "The versions of this software and its libraries are the same.")
    else:
        found.note("versions", f"The versions of the libraries cannot be compared; {OLDER}.")


def differing(recorded: Any, again: Any, within: tuple[float, float], place: str = "") -> Iterator[str]:
    """Places, such as ``regions.0.ei_percent: 5.1 then, 5.3 now``, at which two JSON contents differ.

    Args:
        recorded: content on record.
        again: content made again, of the same form.
        within: relative and absolute tolerance of numbers.
        place: where both stand.
    """
    if isinstance(recorded, Mapping) and isinstance(again, Mapping):
        for key in sorted({*recorded, *again}):
            yield from differing(recorded.get(key), again.get(key), within, f"{place}.{key}" if place else str(key))
    elif _is_list(recorded) and _is_list(again) and len(recorded) == len(again):
        for number, (one, other) in enumerate(zip(recorded, again, strict=True)):
            yield from differing(one, other, within, f"{place}.{number}")
    elif _is_number(recorded) and _is_number(again):
        if not math.isclose(recorded, again, rel_tol=within[0], abs_tol=within[1]):
            yield f"{place}: {recorded:g} then, {again:g} now"
    elif recorded != again:
        yield f"{place}: {_shown(recorded)} then, {_shown(again)} now"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
