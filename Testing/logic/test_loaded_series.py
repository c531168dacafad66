"""A series loaded from Slicer's DICOM database: its files are checked as the command line checks them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from core.dicomseries import AXIAL, chest_slices, write_series
from pydicom.dataset import FileDataset

from KernelNormalizationLib.background import exchange, worker
from KernelNormalizationLib.background.normalization_run import NormalizationRun
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.volume import CTVolume
from KernelNormalizationLib.logic import NormalizationLogic
from slicerhost.dicomdatabase import DicomDatabase, open_database

Load = Callable[..., Any]
HU = chest_slices(12, 20, 24)


@pytest.fixture
def database(scene: Any, tmp_path: Path) -> Iterator[DicomDatabase]:
    with open_database(tmp_path / "database") as made:
        yield made


@pytest.fixture
def load(database: DicomDatabase, tmp_path: Path) -> Load:
    """Write a series, import it and load it, as a user does; gives the volume node."""

    def loaded(name: str = "scan", hu: np.ndarray = HU, **options: Any) -> Any:
        uid = write_series(tmp_path / name, hu, **options)
        database.importDicom(str(tmp_path / name), copyFiles=True)
        (node_id,) = database.loadSeriesByUID([uid])
        return slicer.mrmlScene.GetNodeByID(node_id)

    return loaded


def notes(volume: CTVolume) -> str:
    return " ".join(volume.acquisition.reading_notes)


def set_values(**values: Any) -> Callable[[int, FileDataset], None]:
    """Changes the headers of the last five images."""

    def change(k: int, header: FileDataset) -> None:
        for keyword, value in values.items():
            if k >= 7:
                setattr(header, keyword, value)

    return change


def test_a_series_without_fault_is_read_as_the_command_line_reads_it(load: Load, tmp_path: Path) -> None:
    ours, theirs = NormalizationLogic().volumeFromNode(load()), read_volume(tmp_path / "scan")
    np.testing.assert_array_equal(ours.hu, theirs.hu)
    assert ours.acquisition.reading_notes == theirs.acquisition.reading_notes == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ConvolutionKernel": "B20f"}, "2 different kernels (ConvolutionKernel): “B70f” in 7 image(s)"),
        ({"KVP": 80}, "2 different tube voltages (kV): “120” in 7 image(s)"),
        ({"PatientID": "PID4712"}, "2 different patients: patient 1 in 7 image(s)"),
        (
            {"LossyImageCompression": "01", "LossyImageCompressionRatio": 20},
            "5 of 12 images were compressed with loss, up to 20:1",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_refused_like_on_the_command_line(
    load: Load, tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    node = load(change=set_values(**values))
    with pytest.raises(InputError) as panel:
        NormalizationLogic().volumeFromNode(node)
    with pytest.raises(InputError) as command:
        read_volume(tmp_path / "scan")
    assert words in str(panel.value)
    assert words in str(command.value)


def test_every_volume_of_a_run_is_checked_not_only_the_one_on_the_card(load: Load, tmp_path: Path) -> None:
    nodes = [load("good"), load("mixed", change=set_values(ConvolutionKernel="B20f"))]
    run = NormalizationRun(nodes, exchange.Settings(method="linear"))
    try:
        run.writeInputs()
        out = io.StringIO()
        worker.run([job.folder for job in run.jobs], run.settings, run.alive, out, _Unreached)
    finally:
        run.cleanUp()
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    (refused,) = [line for line in said if line.get("job") == 1 and "2 different kernels" in json.dumps(line)]
    assert refused


class _Unreached:
    """Stands for a method; the good volume has no lungs, so that the gate refuses it before a method is asked."""

    method = "linear"

    def __init__(self, settings: exchange.Settings) -> None:
        self.settings = settings


def test_a_lossy_compression_that_left_the_noise_is_told(load: Load) -> None:
    node = load(change=set_values(LossyImageCompression="01", LossyImageCompressionRatio=3))
    assert "5 of 12 images were compressed with loss (up to 3.0:1)" in notes(NormalizationLogic().volumeFromNode(node))


def test_fractions_of_a_slope_that_varies_are_kept(load: Load, tmp_path: Path) -> None:
    node = load(change=set_values(RescaleSlope="0.97"))
    np.testing.assert_allclose(NormalizationLogic().volumeFromNode(node).hu, read_volume(tmp_path / "scan").hu, atol=1e-3)


def test_a_resampled_volume_is_told(load: Load) -> None:
    node = load()
    node.SetSpacing(0.5, 0.5, 1.25)
    assert "The voxels are 1.25 x 0.50 x 0.50 mm, those of the DICOM files 1.25 x 0.70 x 0.60 mm" in notes(
        NormalizationLogic().volumeFromNode(node)
    )


def test_a_changed_copy_that_still_names_its_files_is_told(load: Load) -> None:
    node = load()
    slicer.util.arrayFromVolume(node)[3, 4:6, 5:9] = -1000
    volume = NormalizationLogic().volumeFromNode(node)
    largest = int(np.abs(HU[3, 4:6, 5:9] + 1000).max())
    assert f"8 voxels differ from the DICOM files, by up to {largest} HU" in notes(volume)


def test_a_cropped_copy_is_measured_without_a_note(load: Load) -> None:
    cropped = slicer.util.addVolumeFromArray(HU[:, 2:18, 3:20], ijkToRAS=np.diag([-0.6, -0.7, 1.25, 1.0]))
    cropped.SetAttribute("DICOM.instanceUIDs", load().GetAttribute("DICOM.instanceUIDs"))
    assert notes(NormalizationLogic().volumeFromNode(cropped)) == ""


def test_pixels_that_do_not_fit_the_header_are_refused(load: Load, tmp_path: Path) -> None:
    def change(k: int, header: FileDataset) -> None:
        if k == 5:
            header.PixelData += b"\0\0\0\0"

    node = load(change=change)
    with pytest.raises(InputError, match=r"holds 964 bytes of pixels where 20 x 24 of 16 bits need 960"):
        NormalizationLogic().volumeFromNode(node)


def test_declared_padding_is_known(load: Load) -> None:
    hu = HU.copy()
    hu[:, :2, :2] = -1100  # too few voxels, too near to air, to be found by themselves

    def change(k: int, header: FileDataset) -> None:
        header.PixelPaddingValue = -1100

    volume = NormalizationLogic().volumeFromNode(load(hu=hu, signed=True, intercept=0, change=change))
    assert volume.padding_value == -1100.0


@pytest.mark.parametrize("orientation", [AXIAL, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)])
def test_a_lost_intercept_is_named_whichever_way_the_slices_are_stacked(load: Load, orientation: tuple[float, ...]) -> None:
    def change(k: int, header: FileDataset) -> None:
        if k == 4:
            header.RescaleIntercept = 0

    node = load(change=change, orientation=orientation)
    with pytest.raises(InputError, match=r"One of the tags is wrong"):
        NormalizationLogic().volumeFromNode(node)


def test_files_that_are_gone_do_not_keep_a_loaded_volume_from_use(load: Load, tmp_path: Path) -> None:
    node = load(change=set_values(ConvolutionKernel="B20f"))
    for file in (tmp_path / "database").iterdir():
        file.unlink()
    assert NormalizationLogic(readTag=lambda uid, tag: "").volumeFromNode(node).acquisition.reading_notes == ()
