"""The provenance record: what goes into it, in which form, and how it is tied to what it describes.

docs/provenance.md lists every field. A record holds no patient's name, no user's name and no path.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypedDict

from ..errors import RESEARCH_USE, InputError
from ..version import VERSION
from ..volume import CTVolume
from .hashes import sha256_of, voxels_sha256

# Raised when a field changes its meaning or goes; a new field alone does not raise it.
SCHEMA_VERSION = 1
SCHEMA_KEY, KIND_KEY, SEAL_KEY, OUTPUT_KEY, FILES_KEY = "manifest_version", "kind", "record_sha256", "output", "files"
# Libraries whose version decides the numbers, beside the one that computes a network.
_LIBRARIES = ("numpy", "scipy", "SimpleITK")
# Length of the short form of a hash, for people: enough to tell any two files apart, short enough to read out.
SHORT = 12

Kind = Literal["normalization", "measurement", "cohort"]


class InputFacts(TypedDict, total=False):
    """A volume that was read: what it is and how it is known again."""

    name: str
    kernel: str | None
    kernel_told_by_user: str | None
    manufacturer: str | None
    scanner_model: str | None
    series_instance_uid: str | None
    shape: list[int]
    spacing_mm: list[float]
    padding_hu: float | None
    synthetic: bool
    voxels_sha256: str


class Manifest(TypedDict, total=False):
    """Fields that every record has; a normalization's and a measurement's add theirs."""

    manifest_version: int
    kind: Kind
    use: str
    version: str
    versions: dict[str, str]
    platform: str
    made_at: str
    record_sha256: str


def new_manifest(kind: Kind, backend: str | None = None) -> Manifest:
    """The fields that every record has, before it is sealed.

    Args:
        kind: what the record tells of.
        backend: package that computes the network, if there is one.
    """
    return {
        "manifest_version": SCHEMA_VERSION,
        "kind": kind,
        "use": RESEARCH_USE,
        "version": VERSION,
        "versions": versions(backend),
        "platform": f"{platform.system()} {platform.machine()}",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def versions(backend: str | None = None) -> dict[str, str]:
    """Versions of Python and of the libraries that affect the numbers; unknown ones are left out."""
    found = {"python": platform.python_version()}
    for library in (*_LIBRARIES, *([backend] if backend else [])):
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def input_facts(volume: CTVolume) -> InputFacts:
    """What a volume is, with the hash of its voxels."""
    facts = volume.acquisition
    return {
        "name": volume.name,
        "kernel": facts.kernel,
        "kernel_told_by_user": facts.told_kernel,
        "manufacturer": facts.manufacturer,
        "scanner_model": facts.scanner_model,
        "series_instance_uid": facts.series_instance_uid,
        "shape": list(volume.shape),
        "spacing_mm": list(volume.geometry.spacing),
        "padding_hu": volume.padding_value,
        "synthetic": volume.synthetic,
        "voxels_sha256": voxels_sha256(volume.hu),
    }


def with_file(record: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """``record`` of the volume in the file ``path``, with the file's name and hash."""
    output = {**_mapping(record.get(OUTPUT_KEY)), "file": path.name, "file_sha256": sha256_of(path)}
    return {**record, OUTPUT_KEY: output}


def file_hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Name -> SHA-256 of the files of a set."""
    return {name: sha256_of(folder / name) for name in names}


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` with the hash of its own content, so that a later change is noticed."""
    return {**record, SEAL_KEY: _content_sha256(record)}


def seal_is_broken(record: Mapping[str, Any]) -> bool | None:
    """Whether a record was changed after it was written; ``None`` for an older one, which has no hash."""
    seal = record.get(SEAL_KEY)
    return None if seal is None else seal != _content_sha256(record)


def recorded_voxels(record: Mapping[str, Any]) -> str | None:
    """Hash of the voxels that a normalization's record describes; ``None`` in a record of an earlier version."""
    found = _mapping(record.get(OUTPUT_KEY)).get("voxels_sha256")
    return None if found is None else str(found)


def require_record_of(volume: CTVolume, record: Mapping[str, Any]) -> None:
    """Refuse a normalization's record that describes other voxels than ``volume`` has.

    A record of an earlier version has no hash and is believed.

    Raises:
        InputError: it describes another image.
    """
    expected = recorded_voxels(record)
    if expected is not None and expected != voxels_sha256(volume.hu):
        raise InputError(
            f"The provenance record of “{volume.name}” describes other voxels than the volume has: one of them was changed or "
            "replaced after the normalization. Put the right record beside the volume, or normalize again."
        )


def require_unchanged(record: Mapping[str, Any], name: str) -> None:
    """Refuse a record that was changed after it was written; one of an earlier version has no seal and is believed.

    Raises:
        InputError: it was changed.
    """
    if seal_is_broken(record):
        raise InputError(
            f"{name} was changed after it was written: its content does not fit the hash stored in it. Take the record as it "
            "was written, or make the file and its record again."
        )


def require_known_schema(record: Mapping[str, Any], name: str) -> None:
    """Refuse a record that a later version of this software wrote.

    Raises:
        InputError: it did, or its version is no number.
    """
    found = record.get(SCHEMA_KEY)
    if found is not None and (not isinstance(found, int) or found > SCHEMA_VERSION):
        raise InputError(
            f"{name} is a record of version {found!r}, this software reads up to {SCHEMA_VERSION}; update this software."
        )


def short_form(record: Mapping[str, Any]) -> str | None:
    """A normalization's record in a few words for reports and headers; ``None`` where it holds no hash."""
    voxels = recorded_voxels(record)
    source = _mapping(record.get("input")).get("voxels_sha256")
    if voxels is None:
        return None
    return f"voxels SHA-256 {voxels[:SHORT]}" + (f", made from voxels {str(source)[:SHORT]}" if source else "")


def _content_sha256(record: Mapping[str, Any]) -> str:
    # as it will be read again: JSON knows no tuples, and no keys but texts
    content = json.loads(json.dumps({key: value for key, value in record.items() if key != SEAL_KEY}))
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
