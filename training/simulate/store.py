"""Patient files and the manifest: atomic, checksummed, resumable."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from KernelNormalizationLib.core.errors import InputError

from ..data.kernel_pair import KernelPair

MANIFEST = "manifest.json"
FORMAT = 1


def patient_path(folder: Path, index: int) -> Path:
    """File of patient number ``index``."""
    return folder / "patients" / f"sim{index:04d}.npz"


def write_patient(path: Path, patient: KernelPair) -> None:
    """Write one patient; an interrupted write leaves no file."""
    arrays: dict[str, Any] = {
        "sharp": patient.sharp,
        "smooth": patient.smooth,
        "lung": patient.lung,
        "spacing": np.asarray(patient.spacing, np.float32),
        "meta": np.array(json.dumps(patient.meta)),
    }
    if patient.sharp_unclipped is not None:
        arrays["sharp_unclipped"] = patient.sharp_unclipped
    if patient.sharp_noise is not None:
        arrays["sharp_noise"] = patient.sharp_noise
    _atomically(path, lambda stream: np.savez_compressed(stream, **arrays))


def read_patient(path: Path) -> KernelPair:
    """Read one patient file.

    Raises:
        InputError: the file is not one this simulator wrote.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            spacing = data["spacing"]
            return KernelPair(
                data["sharp"],
                data["smooth"],
                data["lung"],
                (float(spacing[0]), float(spacing[1]), float(spacing[2])),
                json.loads(str(data["meta"])),
                data.get("sharp_unclipped"),
                data.get("sharp_noise"),
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name} is not a simulated patient ({error}); generate it again.") from error


def write_manifest(folder: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """List every patient file in ``folder`` with its checksum and true values; unchanged files are not read again.

    Returns:
        the manifest.
    """
    known = {entry["file"]: entry for entry in read_manifest(folder).get("patients", [])}
    entries = []
    for path in sorted((folder / "patients").glob("*.npz")):
        state = path.stat()
        old = known.get(path.name)
        if old is not None and (old["bytes"], old["modified_ns"]) == (state.st_size, state.st_mtime_ns):
            entries.append(old)
            continue
        entries.append(
            {
                "file": path.name,
                "bytes": state.st_size,
                "modified_ns": state.st_mtime_ns,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "meta": read_patient(path).meta,
            }
        )
    manifest = {"format": FORMAT, "parameters": parameters, "patients": entries}
    text = json.dumps(manifest, indent=1).encode()
    _atomically(folder / MANIFEST, lambda stream: stream.write(text))
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of ``folder``, empty when there is none yet.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged ({error}); delete it, it is rebuilt from the patient files.") from error
    return manifest


def require_same_parameters(folder: Path, parameters: dict[str, Any]) -> None:
    """Refuse to continue a run with other parameters; only the number of patients may change.

    Raises:
        InputError: the folder holds a run with other parameters.
    """
    old = read_manifest(folder).get("parameters")
    if old is None:
        return
    differing = [k for k in sorted(set(old) | set(parameters)) if k != "patients" and old.get(k) != parameters.get(k)]
    if differing:
        shown = "; ".join(f"{k}: {old.get(k)} there, {parameters.get(k)} asked for" for k in differing)
        raise InputError(f"{folder} holds another run ({shown}). Choose an empty folder or the same parameters.")


def _atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
