"""One run of Normalize: writes the chosen volumes for the background process and adds the results to the scene."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import slicer

from ..core.errors import InputError
from ..core.methods.protocol import TARGET_KERNEL
from ..core.progress import ProgressReport
from ..core.volume import Acquisition, Geometry
from ..mrml.dicom_database import TagReader, databaseFiles, databaseTagReader
from ..mrml.volumes import (
    acquisitionFromNode,
    addSyntheticVolumeNodeFromVoxels,
    geometryFromNode,
    voxelImage,
    whyNotCt,
)
from . import exchange

logger = logging.getLogger(__name__)

MODULE_FOLDER = Path(__file__).resolve().parents[2]


@dataclass
class Job:
    """One volume of a run.

    Attributes:
        nodeId: its input node.
        name: name of the input node.
        folder: where it is stored for the process.
        geometry: spacing, origin and direction, read when the run was prepared.
        acquisition: what is known of the series.
        files: the DICOM files that it was loaded from, as far as the database knows them.
        hu: view of the voxels (k, j, i) until they are stored.
    """

    nodeId: str
    name: str
    folder: Path
    geometry: Geometry
    acquisition: Acquisition
    files: list[Path]
    hu: Any


class NormalizationRun:
    """Files, command and results of one background run; independent of Qt.

    Args:
        nodes: vtkMRMLScalarVolumeNodes, normalized in this order with one model load.
        settings: method, model, device, kernel.
        readTag: how to look up DICOM tags.

    Raises:
        InputError: a node cannot be a chest CT volume (checked without touching its voxels).
    """

    def __init__(self, nodes: list[Any], settings: exchange.Settings, readTag: TagReader | None = None) -> None:
        self.settings = settings
        reader = readTag or databaseTagReader()
        facts = [(node, geometryFromNode(_checked(node)), acquisitionFromNode(node, reader)) for node in nodes]
        self.folder = Path(tempfile.mkdtemp(prefix="ctkernel-"))
        self.alive = self.folder / "alive"
        self.alive.touch()
        self._pid: int | None = None
        self.jobs = []
        for number, (node, geometry, acquisition) in enumerate(facts):
            folder = self.folder / f"volume{number}"
            folder.mkdir()
            # The array view keeps the voxels in memory without a copy, even if the node is removed.
            hu = slicer.util.arrayFromVolume(node)
            self.jobs.append(Job(node.GetID(), node.GetName(), folder, geometry, acquisition, databaseFiles(node), hu))

    def writeInputs(self) -> None:
        """Store the voxels; takes seconds on a large volume; does not access the scene, so it may run in a thread."""
        for entry in self.jobs:
            exchange.write_input(entry.folder, entry.hu, entry.geometry, entry.acquisition, entry.name, entry.files)
            entry.hu = None

    def command(self) -> list[str]:
        """Arguments that start the process; run them in :data:`MODULE_FOLDER`."""
        arguments = [pythonExecutable(), "-m", "KernelNormalizationLib.background.worker"]
        arguments += [str(entry.folder) for entry in self.jobs]
        arguments += ["--method", self.settings.method, "--device", self.settings.device, "--kernel", self.settings.kernel]
        arguments += ["--alive", str(self.alive)]
        arguments += ["--override-gate"] if self.settings.override_gate else []
        return arguments + (["--model", self.settings.model] if self.settings.model else [])

    def handleLine(self, line: str) -> exchange.Event | None:
        """The event in an output line of the process, if any."""
        event = exchange.parse_line(line)
        if event is None and line.strip():
            logger.info("Background process: %s", line.strip())
        if event is not None and event.pid is not None:
            self._pid = event.pid
        return event

    def readOutput(self, number: int) -> tuple[Any, dict[str, Any]]:
        """Voxels (vtkImageData) and record of a finished volume; reads a large file, so it may run in a thread."""
        hu, record = exchange.read_output(self.jobs[number].folder)
        return voxelImage(hu), record

    def addResult(self, number: int, voxels: Any, record: dict[str, Any]) -> Any | None:
        """The new node in the scene; ``None`` if the input node was removed."""
        entry = self.jobs[number]
        inputNode = slicer.mrmlScene.GetNodeByID(entry.nodeId)
        if inputNode is None:
            logger.warning("The input volume was removed while it was normalized; the result is dropped")
            return None
        made = replace(entry.acquisition, kernel=f"{TARGET_KERNEL} (synthetic)")
        return addSyntheticVolumeNodeFromVoxels(voxels, record, made, inputNode)

    def requestStop(self) -> None:
        """Ask the process to stop between two batches."""
        self.alive.unlink(missing_ok=True)

    def kill(self, process: Any) -> None:
        """End a process that did not stop when asked, and the computing process behind a launcher."""
        if process.poll() is None:
            process.terminate()
        if self._pid is not None and self._pid != process.pid:
            try:
                os.kill(self._pid, signal.SIGTERM)
            except OSError:
                logger.debug("The computing process had already ended")

    def cleanUp(self) -> None:
        """Remove all files of the run."""
        self.requestStop()
        shutil.rmtree(self.folder, ignore_errors=True)


def describeProgress(report: ProgressReport, number: int, total: int, name: str) -> str:
    """One line for the user: what, how far, how long."""
    which = f"{name} ({number + 1} of {total}): " if total > 1 else ""
    left = "" if report.seconds_left is None else f", {_duration(report.seconds_left)} left"
    return f"{which}{report.stage}: {report.done} of {report.total}{left}"


def pythonExecutable() -> str:
    """Python that can import what this application can: PythonSlicer inside Slicer, else the running interpreter."""
    return shutil.which("PythonSlicer") or sys.executable


def _checked(node: Any) -> Any:
    reason = whyNotCt(node)
    if reason is not None:
        raise InputError(reason)
    return node


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
