"""Slicer's DICOM database and ``DICOMLib.DICOMUtils``, as far as the modules use them: real files, Slicer's names only."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import slicer
from pydicom.multival import MultiValue

from . import facts
from .application import StrictNamespace


class DicomDatabase:
    """Copies of imported files in a folder, found by instance and series.

    Args:
        folder: of the database; made if absent.
        full: files of a series after which nothing more fits, as on a full disk.
    """

    def __init__(self, folder: Path, full: int | None = None) -> None:
        self._folder, self._full = folder, full
        self._files: dict[str, Path] = {}
        self._series: dict[str, list[str]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def strict(self) -> StrictNamespace:
        """This database with Slicer's names only."""
        return StrictNamespace(
            "slicer.dicomDatabase",
            facts.module_names("slicer.dicomDatabase"),
            isOpen=True,
            fileForInstance=lambda uid: str(self._files.get(uid, "")),
            instanceValue=self.instance_value,
            filesForSeries=lambda uid: [str(self._files[one]) for one in self._series.get(uid, [])],
            instancesForSeries=lambda uid: list(self._series.get(uid, [])),
            removeSeries=self.remove_series,
        )

    @property
    def series(self) -> dict[str, int]:
        """Series instance UID -> number of files."""
        return {uid: len(instances) for uid, instances in self._series.items()}

    def instance_value(self, instance: str, tag: str) -> str:
        """A tag of the top level as text; empty if the file or the tag is not there, and for sequences, as in ctk."""
        if instance not in self._files:
            return ""
        header = pydicom.dcmread(self._files[instance], stop_before_pixels=True)
        element = header.get(tuple(int(part, 16) for part in tag.split(",")))
        if element is None or element.VR == "SQ" or element.value is None:
            return ""
        return "\\".join(map(str, element.value)) if isinstance(element.value, MultiValue) else str(element.value)

    def remove_series(self, uid: str) -> bool:
        """Take a series out, its files too."""
        for instance in self._series.pop(uid, []):
            self._files.pop(instance).unlink(missing_ok=True)
        return True

    def importDicom(self, dicomDataDir: str, dicomDatabase: Any = None, copyFiles: bool = False) -> bool:
        """``DICOMUtils.importDicom``."""
        for path in sorted(Path(dicomDataDir).rglob("*.dcm")):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            uid, instance = str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
            if self._full is not None and len(self._series.get(uid, [])) >= self._full:
                continue
            if copyFiles:
                path = Path(shutil.copyfile(path, self._folder / f"{instance}.dcm"))
            self._files[instance] = path
            self._series.setdefault(uid, []).append(instance)
        return True

    def loadSeriesByUID(
        self, seriesUIDs: list[str], messages: Any = None, progressCallback: Any = None, enabledPluginClassNames: Any = None
    ) -> list[str]:
        """``DICOMUtils.loadSeriesByUID`` for CT: the volume node and the attribute that Slicer's scalar volume plugin sets."""
        loaded = []
        for uid in seriesUIDs:
            instances = sorted(self._series[uid], key=lambda one: pydicom.dcmread(self._files[one]).ImagePositionPatient[2])
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"series {len(loaded)}")
            storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
            files = [str(self._files[one]) for one in instances]
            storage.SetFileName(files[0])
            storage.ResetFileNameList()
            for name in files:
                storage.AddFileName(name)
            assert storage.ReadData(node)
            node.SetAttribute("DICOM.instanceUIDs", " ".join(instances))
            loaded.append(node.GetID())
        return loaded


@contextmanager
def open_database(folder: Path, full: int | None = None) -> Iterator[DicomDatabase]:
    """``slicer.dicomDatabase`` and ``DICOMLib`` for as long as the block lasts."""
    database = DicomDatabase(folder, full)
    library = ModuleType("DICOMLib")
    library.DICOMUtils = StrictNamespace(  # type: ignore[attr-defined]
        "DICOMUtils",
        facts.module_names("DICOMLib.DICOMUtils"),
        importDicom=database.importDicom,
        loadSeriesByUID=database.loadSeriesByUID,
    )
    slicer.dicomDatabase, sys.modules["DICOMLib"] = database.strict(), library
    try:
        yield database
    finally:
        del slicer.dicomDatabase, sys.modules["DICOMLib"]
