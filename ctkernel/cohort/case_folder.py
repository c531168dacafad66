"""The folder of a case: a normalized part and a measured part, each whole or absent, each knowing what it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import write_into_set
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.whole_sets import finish_interrupted, whole_set
from KernelNormalizationLib.core.io.writing import write_json
from KernelNormalizationLib.core.methods.protocol import NormalizationResult, synthetic_name
from KernelNormalizationLib.core.provenance.manifest import FILES_KEY, file_hashes, require_record_of, require_unchanged, sealed
from KernelNormalizationLib.core.volume import CTVolume

CASES, NORMALIZED, MEASURED, DICOM = "cases", "normalized", "measured", "dicom"
STAGE, ROWS, THUMBNAIL, REPORT = "stage.json", "rows.json", "thumbnail.png", "report.html"
VOLUME, PROVENANCE, LUNGS = "normalized.nrrd", "normalized.provenance.json", "lungs.npz"
FAILURE = "failure.json"


class CaseFolder:
    """Where the results of a case lie.

    Args:
        out: output folder of the cohort.
        case: the case's identifier.
    """

    def __init__(self, out: Path, case: str) -> None:
        self.path = out / CASES / case
        self.normalized = self.path / NORMALIZED
        self.measured = self.path / MEASURED

    def stage(self, part: Path) -> dict[str, Any]:
        """What a part was made from; empty if it is absent, or damaged or changed since, so that it is made again."""
        try:
            found = read_json(part / STAGE)
            # parts of an earlier version have no hashes
            told = found.get(FILES_KEY, {})
            return found if file_hashes(part, list(told)) == told else {}
        except (InputError, OSError, AttributeError, TypeError):
            return {}

    @contextmanager
    def writing(self, part: Path, stage: Mapping[str, Any]) -> Iterator[Path]:
        """A private folder that becomes ``part`` as a whole; ``stage`` is what it was made from."""
        self.path.mkdir(parents=True, exist_ok=True)
        finish_interrupted(self.path)
        old = [path.name for path in part.iterdir() if path.is_file()] if part.is_dir() else []
        with whole_set(part, old) as private:
            yield private
            # volumes are checked where they are read
            texts = sorted(path.name for path in private.iterdir() if path.suffix in (".json", ".csv"))
            write_json({**stage, FILES_KEY: file_hashes(private, texts)}, private / STAGE)

    def write_failure(self, record: Mapping[str, Any]) -> None:
        """Remember a failure that trying again would not change."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(dict(record), self.path / FAILURE)

    def failure(self) -> dict[str, Any]:
        """The failure of an earlier run, empty if there was none."""
        try:
            found = read_json(self.path / FAILURE)
        except (InputError, OSError):
            return {}
        return found if isinstance(found, dict) else {}

    def forget_failure(self) -> None:
        """Remove the failure of an earlier run."""
        (self.path / FAILURE).unlink(missing_ok=True)


def write_normalized(
    folder: Path, part: Path, normalized: CTVolume | None, record: Mapping[str, Any], lung_mask: LungMask
) -> None:
    """Write what a later measurement needs.

    Args:
        folder: private folder.
        part: the case's folder that it becomes; messages name it, since the private one is gone by then.
        normalized: the synthetic volume; ``None`` to keep none.
        record: provenance.
        lung_mask: with its quality.
    """
    if normalized is None:
        write_json(sealed(record), folder / PROVENANCE)
    else:
        write_into_set(NormalizationResult(normalized, dict(record)), folder / VOLUME, PROVENANCE, part / VOLUME)
    arrays: dict[str, Any] = {"labels": lung_mask.labels, "airways": np.packbits(lung_mask.airways)}
    if lung_mask.lobes is not None:
        arrays["lobes"] = lung_mask.lobes
    told = json.dumps({"quality": asdict(lung_mask.quality), "notes": list(lung_mask.notes), "origin": lung_mask.origin})
    np.savez_compressed(folder / LUNGS, told=np.frombuffer(told.encode("utf-8"), np.uint8), **arrays)


def read_normalized(folder: Path, scan: CTVolume) -> tuple[CTVolume | None, dict[str, Any], LungMask]:
    """What :func:`write_normalized` wrote, with the same voxels.

    Args:
        folder: the normalized part.
        scan: the scan it was made from.

    Returns:
        The synthetic volume (``None`` if none was kept), the provenance and the lung mask.

    Raises:
        InputError: a file is missing, damaged or not of this scan, or the record is not that of the volume.
    """
    record = read_json(folder / PROVENANCE)
    require_unchanged(record, PROVENANCE)
    normalized = None
    if (folder / VOLUME).is_file():
        stored = read_volume(folder / VOLUME)
        facts = replace(scan.acquisition, kernel=stored.acquisition.kernel, told_kernel=None)
        normalized = scan.with_hu(stored.hu, name=synthetic_name(scan.name), synthetic=True, acquisition=facts)
        require_record_of(normalized, record)
    try:
        with np.load(folder / LUNGS, allow_pickle=False) as stored_lungs:
            arrays = {name: stored_lungs[name] for name in stored_lungs.files}
        told = json.loads(arrays["told"].tobytes().decode("utf-8"))
        airways = np.unpackbits(arrays["airways"], count=scan.hu.size).astype(bool).reshape(scan.shape)
        labels, quality = arrays["labels"], told["quality"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"The lung mask in {folder} is damaged; remove the folder and run again.") from error
    if labels.shape != scan.shape:
        raise InputError(f"The lung mask in {folder} is not of this scan; remove the folder and run again.")
    verdict = MaskQuality(quality["verdict"], tuple(quality["reasons"]))
    origin = told.get("origin", "automatic")
    return normalized, record, LungMask(labels, airways, verdict, arrays.get("lobes"), tuple(told["notes"]), origin)
