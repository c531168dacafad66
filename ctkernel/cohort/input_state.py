"""Whether the files of a case are those that a result was made from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.volume_file import VOLUME_SUFFIXES

from .case import Case, Scan, relative_to
from .settings import digest

_BLOCK = 1 << 20


def files_of(scan: Scan) -> list[Path]:
    """The files that reading a scan looks at, in a fixed order.

    Raises:
        InputError: the path does not exist.
    """
    path = Path(scan.path)
    if scan.files is not None:
        return [path / name for name in scan.files]
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    if not path.exists():
        raise InputError(f"{path} does not exist; correct the path.")
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        return [path]
    return sorted(p for p in path.parent.rglob("*") if p.is_file())  # a DICOM file stands for its series


def quick_state(case: Case) -> str:
    """Digest of names, sizes and dates of the case's files: cheap, and equal as long as nobody wrote to them.

    Raises:
        InputError: a file is missing.
    """
    told = []
    for role, scan in _scans(case):
        for path in files_of(scan):
            try:
                facts = path.stat()
            except FileNotFoundError as error:
                raise InputError(f"{path} does not exist, or was removed meanwhile; check the path.") from error
            told.append([role, str(path), facts.st_size, facts.st_mtime_ns])
    return digest(told)


def content_states(case: Case) -> dict[str, str]:
    """SHA-256 of the content behind each part of the case ("scan", "partner", "mask"), wherever the files lie.

    Raises:
        InputError: a file is missing.
    """
    return {role: _content(scan) for role, scan in _scans(case)}


def normalization_inputs(case: Case, contents: dict[str, str]) -> dict[str, Any]:
    """What the normalized volume and lung mask of a case depend on, beside the settings."""
    return {"scan": contents["scan"], "mask": contents.get("mask"), "kernel": case.kernel, "series": case.scan.series}


def measurement_inputs(case: Case, contents: dict[str, str]) -> dict[str, Any]:
    """What its measurement depends on as well."""
    described = {"patient": case.patient, "date": case.date, "build": list(case.build)}
    return {"partner": contents.get("partner"), **described}


def _scans(case: Case) -> list[tuple[str, Scan]]:
    parts = [("scan", case.scan), ("partner", case.partner)]
    parts.append(("mask", None if case.mask is None else Scan(case.mask, files=None)))
    return [(role, scan) for role, scan in parts if scan is not None]


def _content(scan: Scan) -> str:
    root = Path(scan.path)
    total = hashlib.sha256()
    for path in files_of(scan):
        name = relative_to(path, root) if path != root and path.is_relative_to(root) else path.name
        one = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                one.update(block)
        total.update(f"{name}\0{one.hexdigest()}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
