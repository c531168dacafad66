"""Emphysema quantification on MRML nodes; nodes are written only once everything is computed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_written import WrittenDicom
from KernelNormalizationLib.core.progress import Progress, ProgressTracker
from KernelNormalizationLib.core.provenance.manifest import sealed
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.mrml.dicom_database import INSTANCES, TagReader, databaseTagReader
from KernelNormalizationLib.mrml.dicom_source import dicomFiles, markExportedVolumes, whyNoDicomFiles
from KernelNormalizationLib.mrml.volumes import deferredRecord, deferredVolume, whyNotCt

from .core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from .core.results.manifest import measurement_manifest
from .core.results.measurement import Measurement, with_provenance
from .core.results.quantification import quantify
from .mrml.numbered_masks import SuppliedMask, deferredSuppliedMask
from .mrml.segments import (
    VOLUME_REFERENCE_ROLE,
    ijkToRasOf,
    labelmaps,
    newSegmentationNode,
    writeSegments,
)
from .mrml.surfaces import surfaceNodes
from .mrml.table_and_plot_nodes import ownedNodes, writeHistogram, writeIndices
from .mrml.view_overlay import drawSegments, results

Quantify = Callable[..., Measurement]
_NODE_GONE = "A measured volume, or the scan that it was made from, is no longer in the scene. Load the scan and compute again."
TABLE_REFERENCE_ROLE, CHART_REFERENCE_ROLE = "EmphysemaQuantTable", "EmphysemaQuantChart"
# Needed by the report for figures and page; Slicer has neither.
REPORT_PACKAGES = ("matplotlib", "Jinja2")


@dataclass
class OutputNodes:
    """Where a quantification is shown; ``None`` is made on the first run and reused afterwards."""

    segmentation: Any | None = None
    table: Any | None = None
    chart: Any | None = None


@dataclass(frozen=True)
class Measured:
    """A finished measurement, ready to be shown.

    Attributes:
        result: numbers and masks.
        labelmaps: role -> vtkOrientedImageData of its segments.
        volumeId: ID of the node that was measured first, the original of a pair.
        comparedId: ID of the second volume node, if there is one.
        manifest: how the result came about; empty for a result that nobody described.
    """

    result: Measurement
    labelmaps: dict[str, Any]
    volumeId: str | None = None
    comparedId: str | None = None
    manifest: dict[str, Any] = field(default_factory=dict)


class EmphysemaLogic:
    """Volume nodes in; segmentation, table and plot nodes out.

    Args:
        compute: what measures the volumes (the project's own :func:`quantify` by default).
        readTag: how to look up DICOM tags; the application's DICOM database by default, if there is one.
    """

    def __init__(self, compute: Quantify = quantify, readTag: TagReader | None = None) -> None:
        super().__init__()
        self._compute = compute
        self._readTag = readTag

    def quantify(
        self,
        volumeNode: Any,
        comparedNode: Any | None = None,
        maskNode: Any | None = None,
        thresholdHu: float = EMPHYSEMA_THRESHOLD_HU,
        outputs: OutputNodes | None = None,
        progress: Progress | None = None,
    ) -> tuple[Measurement, OutputNodes]:
        """Measure emphysema and show it in the scene.

        Args:
            volumeNode: chest CT.
            comparedNode: second volume on the same grid (sharp against its synthetic partner), or ``None``.
            maskNode: segmentation whose lung segments are used, or a label map; ``None`` makes the lung mask automatically. As
                :class:`~.mrml.numbered_masks.SuppliedMask` also what its numbers mean.
            thresholdHu: HU of the emphysema index.
            outputs: nodes of an earlier run to write into.
            progress: receives the steps and is asked for cancellation.

        Returns:
            The numbers and masks, and the nodes that show them.

        Raises:
            InputError: volumes or mask cannot be used.
            LungNotFoundError: the automatic mask found no lung.
            Cancelled: the user stopped the run.
        """
        work = self.prepare(volumeNode, comparedNode, maskNode, thresholdHu)
        measured = work(progress or ProgressTracker())
        return measured.result, self.show(measured, volumeNode, outputs or OutputNodes())

    def prepare(
        self, volumeNode: Any, comparedNode: Any | None, maskNode: Any | None, thresholdHu: float
    ) -> Callable[[Progress], Measured]:
        """Read the nodes now; the returned function measures without access to the scene and may run in a thread.

        Raises:
            InputError: nodes that cannot be used; the rest of :meth:`quantify`'s errors come from the function.
        """
        readTag = self._readTag or databaseTagReader()
        markExportedVolumes([node for node in (volumeNode, comparedNode) if node is not None], readTag)
        if comparedNode is volumeNode:
            raise InputError("Both volumes are the same; choose another second volume, or none.")
        if comparedNode is not None and provenance.isSynthetic(volumeNode) and not provenance.isSynthetic(comparedNode):
            # the order of the measurement: the original and its segments first
            volumeNode, comparedNode = comparedNode, volumeNode
        volume = deferredVolume(volumeNode, readTag)
        compared = deferredVolume(comparedNode, readTag) if comparedNode is not None else None
        supplied = maskNode if isinstance(maskNode, SuppliedMask) or maskNode is None else SuppliedMask(maskNode)
        lungs = deferredSuppliedMask(supplied, volumeNode) if supplied is not None else None
        records = [deferredRecord(node) for node in (volumeNode, comparedNode) if node is not None]
        ijkToRas, volumeId = ijkToRasOf(volumeNode), volumeNode.GetID()
        comparedId = comparedNode.GetID() if comparedNode is not None else None

        def work(progress: Progress) -> Measured:
            volumes = [read() for read in (volume, compared) if read is not None]
            second = volumes[1] if len(volumes) == 2 else None
            mask = lungs(volumes[0]) if lungs is not None else None
            result = self._compute(volumes[0], second, mask, thresholdHu, progress)
            result = with_provenance(result, {ct: record() for ct, record in zip(volumes, records, strict=True)})
            # hashing takes a while on large volumes, so it is done here, where no window waits
            manifest = dict(measurement_manifest(result))
            return Measured(result, labelmaps(result, ijkToRas), volumeId, comparedId, manifest)

        return work

    def partnerOf(self, volumeNode: Any) -> Any | None:
        """The other half of a sharp and synthetic pair: the newest synthetic volume of an original, or its original."""
        if volumeNode is None:
            return None
        if provenance.isSynthetic(volumeNode):
            return provenance.inputOf(volumeNode)
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return next((n for n in reversed(nodes) if provenance.inputOf(n) is volumeNode), None)

    @staticmethod
    def resultOf(volumeNode: Any) -> OutputNodes:
        """Where the newest measurement of ``volumeNode`` is shown, hidden or not; empty if it was never measured."""
        measured = [node for node in results() if node.GetNodeReference(VOLUME_REFERENCE_ROLE) is volumeNode]
        if volumeNode is None or not measured:
            return OutputNodes()
        newest = measured[-1]
        return OutputNodes(newest, *(newest.GetNodeReference(role) for role in (TABLE_REFERENCE_ROLE, CHART_REFERENCE_ROLE)))

    def preferredVolume(self) -> Any | None:
        """The volume a user most likely wants measured: the newest original that has a partner, else the newest CT."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        markExportedVolumes(nodes, self._readTag or databaseTagReader())
        nodes = [n for n in nodes if not n.GetHideFromEditors() and whyNotCt(n) is None]
        originals = [n for n in nodes if not provenance.isSynthetic(n)]
        paired = [n for n in originals if self.partnerOf(n) is not None]
        return next(iter((paired or originals or nodes)[::-1]), None)

    @staticmethod
    def missingForReport() -> list[str]:
        """Names of the Python packages that :meth:`writeReport` needs and this application lacks, ready for pip."""
        return [package for package in REPORT_PACKAGES if importlib.util.find_spec(package.lower()) is None]

    @staticmethod
    def whyNoPdf() -> str | None:
        """One sentence on why :meth:`writeReport` writes no PDF here and what to do, or ``None`` if it does."""
        from .report.pdf import why_no_pdf

        return why_no_pdf()

    def writeReport(self, result: Measurement, folder: str | Path, label: str | None = None) -> dict[str, Path]:
        """Write the report of a measurement, the same as the command line's; takes some seconds.

        Does not access the scene, so it may run in a thread.

        Args:
            result: what :meth:`quantify` returned.
            folder: existing folder; files of an earlier report there are replaced.
            label: heading instead of the volume's name.

        Returns:
            "html" and, if WeasyPrint and Pango are installed, "pdf" -> path; see :meth:`whyNoPdf`.

        Raises:
            InputError: the folder does not exist, or a Python package is missing.
        """
        missing = self.missingForReport()
        if missing:
            raise InputError(f"The report needs the Python packages {' and '.join(missing)}; install them and save again.")
        from .report.writing import write_report

        return write_report(result, Path(folder), label)

    def whyNotExport(self, measured: Measured | None) -> str | None:
        """Why a measurement cannot be written as DICOM, in words for the user; ``None`` if it can."""
        if measured is None:
            return "Press Compute first; what was measured before this scene was loaded is no longer in memory."
        quality = measured.result.lung_mask.quality
        if quality.verdict == "failed":
            return f"The lung mask failed: {' '.join(quality.reasons)}"
        if importlib.util.find_spec("highdicom") is None:
            return "Segmentation and report need highdicom. Type slicer.util.pip_install('highdicom') in the Python console."
        for node in _sourceNodes(measured):
            reason = _NODE_GONE if node is None else whyNoDicomFiles(node)
            if reason is not None:
                return reason
        return None

    def prepareExport(self, measured: Measured) -> Callable[[Path, Progress], WrittenDicom]:
        """Find the DICOM files of the measured volumes now; the returned function writes SEG and SR into a new folder.

        The function touches no node and may run in a thread. It writes what ``ctkernel export`` writes with a mask, and the
        objects of the scan itself beside them.

        Raises:
            InputError: now: nothing can be exported; from the function: as
                :func:`.core.results.dicom_files.export_measurement`.
        """
        reason = self.whyNotExport(measured)
        if reason is not None:
            raise InputError(reason)
        sources = [dicomFiles(node) for node in _sourceNodes(measured)]

        def write(folder: Path, progress: Progress) -> WrittenDicom:
            from .core.results.dicom_files import export_measurement

            return export_measurement(measured.result, sources, folder, progress)

        return write

    @staticmethod
    def remove(outputs: OutputNodes) -> None:
        """Remove the output nodes, and the nodes that belong to them, from the scene."""
        extra = ownedNodes(outputs.chart) if outputs.chart is not None else []
        if outputs.segmentation is not None:
            shown = outputs.segmentation
            extra += surfaceNodes(shown)
            extra += [shown.GetNthDisplayNode(n) for n in range(shown.GetNumberOfDisplayNodes())]
        for node in [*extra, outputs.segmentation, outputs.table, outputs.chart]:
            if node is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)

    def show(self, measured: Measured, volumeNode: Any, outputs: OutputNodes) -> OutputNodes:
        """Write a finished quantification of ``volumeNode`` into the scene; nodes created here are removed if that fails."""
        result = measured.result
        volumeNode = slicer.mrmlScene.GetNodeByID(measured.volumeId or "") or volumeNode
        name = volumeNode.GetName()
        made = OutputNodes()
        try:
            if outputs.segmentation is None:
                made.segmentation = newSegmentationNode(f"{name} emphysema")
            if outputs.table is None:
                made.table = _newNode("vtkMRMLTableNode", f"{name} emphysema indices")
            if outputs.chart is None:
                made.chart = _newNode("vtkMRMLPlotChartNode", f"{name} lung histogram")
            shown = OutputNodes(
                outputs.segmentation or made.segmentation, outputs.table or made.table, outputs.chart or made.chart
            )
            compared = slicer.mrmlScene.GetNodeByID(measured.comparedId or "")
            writeSegments(shown.segmentation, volumeNode, measured.labelmaps, compared)
            drawSegments(shown.segmentation, change=False)
            writeIndices(shown.table, result)
            shown.table.SetNodeReferenceID(VOLUME_REFERENCE_ROLE, volumeNode.GetID())
            writeHistogram(shown.chart, result)
            for role, node in ((TABLE_REFERENCE_ROLE, shown.table), (CHART_REFERENCE_ROLE, shown.chart)):
                shown.segmentation.SetNodeReferenceID(role, node.GetID())
            for node in (shown.segmentation, shown.table):
                node.SetAttribute(provenance.RECORD, json.dumps(sealed(measured.manifest), sort_keys=True))
        except Exception:
            self.remove(made)
            raise
        return shown


def sliceOfMost(mask: np.ndarray) -> int | None:
    """Index of the slice (first axis of ``mask``, bool (k, j, i)) with most voxels; ``None`` if the mask is empty."""
    counts = np.count_nonzero(mask, axis=(1, 2))
    return int(counts.argmax()) if counts.any() else None


def _sourceNodes(measured: Measured) -> list[Any | None]:
    """For each measured volume its node if it was loaded from DICOM, else the node of the scan that it was made from."""
    found = []
    for nodeId in (measured.volumeId, measured.comparedId)[: len(measured.result.volumes)]:
        node = slicer.mrmlScene.GetNodeByID(nodeId or "")
        if node is not None and provenance.isSynthetic(node) and not node.GetAttribute(INSTANCES):
            node = provenance.inputOf(node)
        found.append(node)
    return found


def _newNode(className: str, name: str) -> Any:
    return slicer.mrmlScene.AddNewNodeByClass(className, slicer.mrmlScene.GetUniqueNameByString(name))
