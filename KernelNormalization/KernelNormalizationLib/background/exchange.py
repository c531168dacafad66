"""Files that pass a volume to the background process and back: a private folder with arrays and JSON, without loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import FloatArray
from ..core.errors import Cancelled, CTKernelError, InputError, LungNotFoundError, ModelError
from ..core.io.padding import detect_padding
from ..core.kernels.told_kernel import FROM_HEADER
from ..core.methods.protocol import DEFAULT_METHOD, Method, NormalizationResult
from ..core.network.backends import Device
from ..core.progress import ProgressReport
from ..core.volume import Acquisition, CTVolume, Geometry

INPUT_ARRAY = "input.npy"
INPUT_FACTS = "input.json"
OUTPUT_ARRAY = "output.npy"
OUTPUT_RECORD = "record.json"
ERRORS: dict[str, type[CTKernelError]] = {
    kind.__name__: kind for kind in (InputError, ModelError, LungNotFoundError, Cancelled, CTKernelError)
}


@dataclass(frozen=True)
class Settings:
    """What the user chose.

    Attributes:
        method: normalization method.
        model: model identifier or folder; ``None`` for the default one.
        device: "auto", "cuda", "mps" or "cpu".
        kernel: the scans' kernel as named by the user, "noise" to estimate it from the noise, "header" for each scan's header.
        override_gate: whether refused scans are normalized all the same.
    """

    method: Method = DEFAULT_METHOD
    model: str | None = None
    device: Device = "auto"
    kernel: str = FROM_HEADER
    override_gate: bool = False


@dataclass(frozen=True)
class Event:
    """One line of the background process.

    Attributes:
        job: which of the queued volumes it is about, from 0.
        progress: state of the running stage, or ``None``.
        finished: whether the volume is done and its output is complete.
        error: what went wrong, or ``None``.
        pid: process ID of the process that computes, sent once at its start.
    """

    job: int
    progress: ProgressReport | None = None
    finished: bool = False
    error: CTKernelError | None = None
    pid: int | None = None


def write_input(
    folder: Path, hu: NDArray[Any], geometry: Geometry, acquisition: Acquisition, name: str, files: Sequence[Path] = ()
) -> None:
    """Store a volume for the background process.

    Args:
        folder: an existing empty folder.
        hu: (k, j, i), HU, any real number type.
        geometry: spacing, origin and direction.
        acquisition: what is known of the series.
        name: label for messages.
        files: the DICOM files of the volume, as far as they are known.
    """
    np.save(folder / INPUT_ARRAY, hu)
    facts = {"geometry": asdict(geometry), "acquisition": asdict(acquisition), "name": name}
    facts["files"] = [str(file) for file in files]
    (folder / INPUT_FACTS).write_text(json.dumps(facts), encoding="utf-8")


def read_input(folder: Path) -> CTVolume:
    """The stored volume, validated and checked as the panel's card checks it.

    Raises:
        InputError: it is not a chest CT volume in HU, or its slices or files do not belong together.
    """
    from ..core.io.loaded_series import checked_as_loaded  # takes SimpleITK, which the application should not load here

    facts = json.loads((folder / INPUT_FACTS).read_text(encoding="utf-8"))
    hu: FloatArray = np.load(folder / INPUT_ARRAY, allow_pickle=False).astype(np.float32)
    place, known = facts["geometry"], facts["acquisition"]
    geometry = Geometry(tuple(place["spacing"]), tuple(place["origin"]), tuple(map(tuple, place["direction"])))
    acquisition = Acquisition(**{**known, **{name: tuple(known[name]) for name in ("image_type", "reading_notes")}})
    loaded = CTVolume(hu, geometry, acquisition, detect_padding(hu), facts["name"])
    return checked_as_loaded(loaded, [Path(file) for file in facts["files"]])


def write_output(folder: Path, result: NormalizationResult) -> None:
    """Store a finished normalization; the record is written last, so its presence means that the voxels are complete."""
    np.save(folder / OUTPUT_ARRAY, result.volume.hu)
    (folder / OUTPUT_RECORD).write_text(json.dumps(result.record), encoding="utf-8")


def read_output(folder: Path) -> tuple[FloatArray, dict[str, Any]]:
    """Voxels (float32 (k, j, i), HU) and provenance record of a finished normalization."""
    record: dict[str, Any] = json.loads((folder / OUTPUT_RECORD).read_text(encoding="utf-8"))
    hu: FloatArray = np.load(folder / OUTPUT_ARRAY, allow_pickle=False)
    return hu, record


def progress_line(job: int, report: ProgressReport) -> str:
    """Output line that reports progress."""
    return json.dumps({"event": "progress", "job": job, **asdict(report)})


def error_line(job: int, error: CTKernelError) -> str:
    """Output line that reports an expected failure."""
    return json.dumps({"event": "error", "job": job, "kind": type(error).__name__, "message": str(error)})


def finished_line(job: int) -> str:
    """Output line that reports a finished volume."""
    return json.dumps({"event": "finished", "job": job})


def started_line(pid: int) -> str:
    """Output line with the process ID; the first one."""
    return json.dumps({"event": "started", "job": 0, "pid": pid})


def parse_line(line: str) -> Event | None:
    """The event in an output ``line``; ``None`` for other console output, such as library warnings."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        content = json.loads(line)
        return _PARSERS[content["event"]](content)
    except (ValueError, KeyError, TypeError):
        return None


def _progress(content: dict[str, Any]) -> Event:
    report = ProgressReport(content["done"], content["total"], content["seconds_left"], content["stage"])
    return Event(content["job"], progress=report)


def _error(content: dict[str, Any]) -> Event:
    return Event(content["job"], error=ERRORS.get(content["kind"], CTKernelError)(content["message"]))


_PARSERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "progress": _progress,
    "error": _error,
    "finished": lambda content: Event(content["job"], finished=True),
    "started": lambda content: Event(content["job"], pid=content["pid"]),
}
