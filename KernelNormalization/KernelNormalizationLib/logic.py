"""Kernel normalization on MRML nodes; a failed or cancelled run leaves the scene as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from .core.errors import InputError
from .core.io.dicom_written import WrittenDicom
from .core.methods.protocol import DEFAULT_METHOD, Method, NormalizationResult, Normalizer
from .core.progress import Progress, ProgressTracker
from .core.volume import CTVolume
from .mrml import provenance
from .mrml.dicom_database import TagReader, databaseTagReader
from .mrml.dicom_source import dicomFiles, markExportedVolumes, whyNoDicomFiles
from .mrml.volumes import (
    addSyntheticVolumeNode,
    deferredRecord,
    deferredVolume,
    volumeFromNode,
    whyNotCt,
)

NormalizerFactory = Callable[[Method], Normalizer]


class NormalizationLogic:
    """Volume node in, synthetic smooth-kernel volume node out.

    Args:
        makeNormalizer: gives the normalizer of a method; needed only to normalize in this process.
        readTag: how to look up DICOM tags; the application's DICOM database by default, if there is one.
    """

    def __init__(self, makeNormalizer: NormalizerFactory | None = None, readTag: TagReader | None = None) -> None:
        super().__init__()
        self._makeNormalizer = makeNormalizer
        self._readTag = readTag

    def volumeFromNode(self, node: Any) -> CTVolume:
        """A validated copy of the node's voxels, HU float32 (k, j, i).

        Raises:
            InputError: the node is not a chest CT volume in HU; the message says what to do.
        """
        return volumeFromNode(node, self._readTag or databaseTagReader())

    def deferredVolume(self, node: Any) -> Callable[[], CTVolume]:
        """Like :meth:`volumeFromNode`, in two steps: the returned function does the slow part and may run in a thread."""
        return deferredVolume(node, self._readTag or databaseTagReader())

    def normalize(
        self, node: Any, method: Method = DEFAULT_METHOD, progress: Progress | None = None, overrideGate: bool = False
    ) -> Any:
        """Normalize ``node`` in this process and add the result to the scene.

        A scan that the gate refuses is normalized only with ``overrideGate``, which goes on record.

        Returns:
            The new vtkMRMLScalarVolumeNode ``<input> B20f (synthetic, <method>)``.

        Raises:
            InputError: the volume cannot be used, or the gate refuses it.
            Cancelled: the user stopped the run.
        """
        from .core.methods.gate import normalize_gated  # takes SimpleITK, which the start of the application should not load

        if self._makeNormalizer is None:
            raise RuntimeError("No normalizer was given; construct NormalizationLogic(makeNormalizer=…) to run in process.")
        volume = self.volumeFromNode(node)
        result = normalize_gated(self._makeNormalizer(method), volume, progress or ProgressTracker(), overrideGate)
        return self.addResult(result, node)

    def addResult(self, result: NormalizationResult, inputNode: Any) -> Any:
        """Add a finished normalization of ``inputNode`` to the scene and return its node."""
        return addSyntheticVolumeNode(result, inputNode)

    def whyNotExport(self, node: Any) -> str | None:
        """Why the synthetic volume ``node`` cannot be written as DICOM, in words for the user; ``None`` if it can."""
        if node is None:
            return "Choose a synthetic volume below; Normalize makes one."
        original = provenance.inputOf(node)
        if original is None:
            return (
                f"The scan that “{node.GetName()}” was made from is not in the scene, so its patient and study are not known. "
                "Load the scan and normalize again."
            )
        return whyNoDicomFiles(original)

    def prepareExport(self, node: Any) -> Callable[[Path, Progress], WrittenDicom]:
        """Read the synthetic volume ``node`` now; the returned function writes it into a new folder and may run in a thread.

        It writes what ``ctkernel export`` writes without a mask: a derived CT series in the study of the scan.

        Raises:
            InputError: now: nothing can be exported; from the function: as :func:`.core.io.dicom_export.export_series`.
        """
        reason = self.whyNotExport(node)
        if reason is not None:
            raise InputError(reason)
        files, record, volume = dicomFiles(provenance.inputOf(node)), deferredRecord(node), self.deferredVolume(node)

        def write(folder: Path, progress: Progress) -> WrittenDicom:
            from .core.io.dicom_export import export_series

            written = export_series(volume(), files, record(), folder, progress)
            return WrittenDicom({written.series_uid: len(written.headers)}, written.in_words())

        return write

    def markExported(self) -> None:
        """Mark as synthetic what was exported before and came back from the DICOM database, so that it is not normalized."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        markExportedVolumes(nodes, self._readTag or databaseTagReader())

    def candidates(self) -> list[Any]:
        """Volume nodes of the scene that can be normalized, oldest first: CT-like scalar volumes, none synthetic."""
        self.markExported()
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        visible = [node for node in nodes if not node.GetHideFromEditors()]
        return [node for node in visible if whyNotCt(node) is None and not provenance.isSynthetic(node)]

    def newestCandidate(self) -> Any | None:
        """The volume a user most likely wants to normalize next."""
        found = self.candidates()
        return found[-1] if found else None

    def syntheticPartner(self, node: Any) -> Any | None:
        """The newest synthetic volume made from ``node``, if one is in the scene."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return next((n for n in reversed(nodes) if provenance.inputOf(n) is node), None)
