"""The two export buttons of a panel: DICOM files into a folder, or into Slicer's DICOM database."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from ..background.thread_job import BackgroundJob
from ..core.errors import Cancelled, CTKernelError, error_in_words
from ..core.io.dicom_written import WrittenDicom
from ..core.progress import Progress, ProgressReport
from ..mrml.dicom_database import dicomDatabase

logger = logging.getLogger(__name__)

Write = Callable[[Path, Progress], WrittenDicom]
"""Writes into a new folder, whole or not at all; touches no node."""


class ExportLogic(Protocol):
    """What the buttons need of a module's logic."""

    def whyNotExport(self, chosen: Any) -> str | None: ...
    def prepareExport(self, chosen: Any) -> Write: ...


class DicomExport:
    """Keeps the buttons ``exportFolderButton`` and ``exportDatabaseButton`` of a panel usable only where an export is possible.

    Args:
        panel: has the buttons in its ``ui``, an :class:`ExportLogic` as ``logic``, and ``setStatus``.
        chosen: what would be exported now: a volume node, a measurement.
    """

    def __init__(self, panel: Any, chosen: Callable[[], Any]) -> None:
        self._panel, self._chosen = panel, chosen
        self._logic: ExportLogic = panel.logic
        self._buttons = (panel.ui.exportFolderButton, panel.ui.exportDatabaseButton)
        self._texts = [(str(button.text), str(button.toolTip)) for button in self._buttons]
        self._job: BackgroundJob | None = None
        # Where files wait for the database; Python removes it, after all threads have ended, when the application quits.
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        panel.ui.exportFolderButton.connect("clicked()", self.onFolder)
        panel.ui.exportDatabaseButton.connect("clicked()", self.onDatabase)

    @property
    def running(self) -> bool:
        """Whether files are being written."""
        return self._job is not None

    def update(self) -> None:
        """Enable the buttons, or say in their tool tips why they are not."""
        reason = self._logic.whyNotExport(self._chosen())
        noDatabase = _("No DICOM database is open. Open the DICOM module once.") if dicomDatabase() is None else None
        for button, (text, tip), why in zip(self._buttons, self._texts, (reason, reason or noDatabase), strict=True):
            first = button is self._buttons[0]
            button.enabled = first if self.running else why is None
            button.toolTip = tip if why is None else why
            button.text = _("Cancel export") if first and self.running else text

    def onFolder(self) -> None:
        """Ask for a folder and export into a new one inside it; or cancel the export that runs."""
        if self._job is not None:
            self._job.cancel()
            return
        chosen = qt.QFileDialog.getExistingDirectory(self._panel.widget, _("Folder for the DICOM files"))
        if chosen:
            self.exportTo(Path(str(chosen)))

    def exportTo(self, parent: Path) -> None:
        """Export into a new folder inside ``parent``, named after the time."""
        folder = parent / f"CTKernelNormalization {datetime.now():%Y-%m-%d %H%M%S}"
        self._start(folder, lambda written: _("{told} Folder: {folder}").format(told=written.told, folder=folder))

    def onDatabase(self) -> None:
        """Export into Slicer's DICOM database."""
        if self._job is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="ctkernel-dicom-", ignore_cleanup_errors=True)
            self._start(Path(self._scratch.name) / "export", self._intoDatabase)

    def stop(self) -> None:
        """End an export at once; nothing of it is kept."""
        if self._job is not None:
            self._job.stop()
            self._job = None
        self._forgetScratch()

    def _start(self, folder: Path, finish: Callable[[WrittenDicom], str]) -> None:
        try:
            write = self._logic.prepareExport(self._chosen())
        except CTKernelError as error:
            self._ended(str(error))
            return
        self._job = BackgroundJob(
            lambda progress: write(folder, progress), self._told, lambda *outcome: self._finished(finish, *outcome)
        )
        self._panel.setStatus(_("Writing DICOM…"))
        self._job.start()
        self.update()

    def _told(self, report: ProgressReport) -> None:
        self._panel.setStatus(f"{report.stage}: {report.done} / {report.total}")

    def _finished(self, finish: Callable[[WrittenDicom], str], written: WrittenDicom | None, error: Exception | None) -> None:
        self._job = None
        if isinstance(error, Cancelled):
            self._ended(_("Cancelled; no DICOM was written."), isError=False)
        elif isinstance(error, CTKernelError):
            self._ended(_("No DICOM was written: {error}").format(error=error))
        elif written is None:
            logger.error("DICOM export failed", exc_info=error)
            self._ended(_("No DICOM was written: {error}. See the log.").format(error=error_in_words(error).rstrip(".")))
        else:
            try:
                self._ended(finish(written), isError=False)
            except CTKernelError as failure:
                self._ended(str(failure))

    def _ended(self, text: str, isError: bool = True) -> None:
        self._forgetScratch()
        self.update()  # a message box below holds this function up
        self._panel.setStatus(text, error=isError)

    def _intoDatabase(self, written: WrittenDicom) -> str:
        if self._scratch is not None:
            addToDatabase(Path(self._scratch.name) / "export", written.series)
        return _("{told} Added to the DICOM database.").format(told=written.told)

    def _forgetScratch(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def addToDatabase(folder: Path, series: Mapping[str, int]) -> None:
    """Copy the DICOM files of ``folder`` into Slicer's database; this blocks the GUI thread, which owns its tables.

    Args:
        folder: may be removed afterwards.
        series: series instance UID -> number of files that must arrive.

    Raises:
        CTKernelError: not all files arrived; those that did are taken out again.
    """
    from DICOMLib import DICOMUtils

    database = dicomDatabase()
    if database is None:
        raise CTKernelError(_("No DICOM database is open. Open the DICOM module once, and export again."))
    with slicer.util.WaitCursor():
        DICOMUtils.importDicom(str(folder), database, copyFiles=True)
    arrived = {uid: len(database.filesForSeries(uid)) for uid in series}
    if arrived != dict(series):
        for uid in series:
            database.removeSeries(uid)
        raise CTKernelError(
            _("The DICOM database took {n} of {all} files, so all were taken out again. Is its disk full?").format(
                n=sum(arrived.values()), all=sum(series.values())
            )
        )
