"""Volumes that Slicer made of DICOM files: it describes them by the first one, so the modules look at all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from core.dicomseries import chest_slices, write_series
from pydicom.dataset import FileDataset

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.logic import NormalizationLogic
from slicerhost.dicomdatabase import DicomDatabase, open_database

HU = chest_slices()
UID = "1.2.3.77"
Change = Callable[[int, FileDataset], None]


@pytest.fixture
def database(scene: Any, tmp_path: Path) -> Iterator[DicomDatabase]:
    with open_database(tmp_path / "database") as opened:
        yield opened


def loaded(database: DicomDatabase, folder: Path, change: Change | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(folder, HU, uid=UID, change=change)
    database.importDicom(str(folder), copyFiles=True)
    (node_id,) = database.loadSeriesByUID([UID])
    return slicer.mrmlScene.GetNodeByID(node_id)


def half(keyword: str, value: object) -> Change:
    def change(k: int, ds: FileDataset) -> None:
        if k >= len(HU) // 2:
            setattr(ds, keyword, value)

    return change


def test_a_whole_series_is_read_with_its_kernel(database: DicomDatabase, tmp_path: Path) -> None:
    volume = NormalizationLogic().volumeFromNode(loaded(database, tmp_path / "in"))
    np.testing.assert_array_equal(np.sort(volume.hu, axis=None), np.sort(HU.astype(np.float32), axis=None))
    assert volume.acquisition.kernel == "B70f"
    assert volume.acquisition.reading_notes == ()


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ConvolutionKernel", "B20f", "“B20f” in 5 image"),
        ("StudyInstanceUID", "1.2.9", "different studies"),
        ("FrameOfReferenceUID", "1.2.9", "different frames of reference"),
        ("PatientID", "B8", "different patients: patient 1 in 5"),
        ("PhotometricInterpretation", "MONOCHROME1", "different photometric interpretations"),
    ],
)
def test_what_must_be_one_in_a_series(database: DicomDatabase, tmp_path: Path, keyword: str, value: str, words: str) -> None:
    node = loaded(database, tmp_path / "in", half(keyword, value))
    with pytest.raises(InputError, match="Under one series UID") as caught:
        NormalizationLogic().volumeFromNode(node)
    assert words in str(caught.value)


def test_slopes_with_fractions_which_slicer_rounds_are_refused(database: DicomDatabase, tmp_path: Path) -> None:
    node = loaded(database, tmp_path / "in", lambda k, ds: setattr(ds, "RescaleSlope", 1.0 if k % 2 else 0.9375))
    with pytest.raises(InputError, match=r"2 different rescales with fractions \(slopes 0\.9375 to 1\)"):
        NormalizationLogic().volumeFromNode(node)


def test_compression_with_loss_is_noted_and_a_strong_one_refused(database: DicomDatabase, tmp_path: Path) -> None:
    def lossy(ratio: float) -> Change:
        def change(_: int, ds: FileDataset) -> None:
            ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", ratio

        return change

    volume = NormalizationLogic().volumeFromNode(loaded(database, tmp_path / "weak", lossy(2.0)))
    assert "up to 2.0:1" in volume.acquisition.reading_notes[0]
    database.remove_series(UID)
    with pytest.raises(InputError, match="up to 20:1"):
        NormalizationLogic().volumeFromNode(loaded(database, tmp_path / "strong", lossy(20.0)))


def test_files_that_are_gone_are_no_reason_to_refuse_the_loaded_voxels(database: DicomDatabase, tmp_path: Path) -> None:
    node = loaded(database, tmp_path / "in", half("ConvolutionKernel", "B20f"))
    next((tmp_path / "database").iterdir()).unlink()
    assert NormalizationLogic().volumeFromNode(node).hu.shape == HU.shape
