"""The export buttons: what arrives in a folder and in Slicer's DICOM database, and why they are off where they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import slicer
from core.dicomseries import write_series
from core.enhancedct import write_enhanced
from emphysemapanel import HOLE, LEFT, RIGHT, SHAPE, BoxLogic, compute
from emphysemapanel import UI_FILE as EMPHYSEMA_UI
from normalizationpanel import PanelMaker, make_panel, press_and_wait, synthetic

from EmphysemaQuantLib.ui.widget import EmphysemaPanel
from KernelNormalizationLib.core.io.dicom_series import read_header
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.volume import Acquisition
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.mrml.dicom_database import databaseTagReader
from KernelNormalizationLib.mrml.volumes import acquisitionFromNode, addSyntheticVolumeNodeFromVoxels
from KernelNormalizationLib.selftest.base import waitUntil
from slicerhost.dicomdatabase import DicomDatabase, open_database

__all__ = ["make_panel"]
KEPT = "1.2.826.0.1.3680043.10.1"


def chest_hu() -> np.ndarray:
    hu = np.full(SHAPE, 40, np.int16)
    hu[RIGHT], hu[LEFT], hu[HOLE] = -860, -860, -980
    hu[:, 0, 0] = 41  # a slice of a single value is refused as one that was never copied
    return hu


@pytest.fixture
def database(app: Any, tmp_path: Path) -> Iterator[DicomDatabase]:
    write_series(tmp_path / "scan", chest_hu(), step=8.0, pixel=(4.0, 4.0), uid=KEPT)
    with open_database(tmp_path / "database") as made:
        made.importDicom(str(tmp_path / "scan"), copyFiles=True)
        yield made


@pytest.fixture
def scan(database: DicomDatabase) -> Any:
    """The scan as a user loads it from the database."""
    (node_id,) = database.loadSeriesByUID([KEPT])
    node = slicer.mrmlScene.GetNodeByID(node_id)
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture
def made(scan: Any) -> Any:
    """Its synthetic volume, as a finished run adds it."""
    hu = slicer.util.arrayFromVolume(scan).astype(np.float32)
    hu[hu < -900.0] += np.float32(10.25)
    record = {"method": "linear", "version": "0.1.0", "input": {"series_instance_uid": KEPT}}
    return addSyntheticVolumeNodeFromVoxels(hu, record, Acquisition(kernel="B20f (synthetic)"), scan)


@pytest.fixture
def measuring(app: Any) -> Iterator[EmphysemaPanel]:
    panel = EmphysemaPanel(BoxLogic(), str(EMPHYSEMA_UI))
    yield panel
    panel.cleanup()
    panel.widget.deleteLater()


def wait_for(panel: Any) -> str:
    waitUntil(lambda: not panel.export.running, "the export")
    return str(panel.ui.statusLabel.text)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestNormalization:
    def test_a_volume_normalized_in_slicer_becomes_a_series_in_a_new_folder(
        self, make_panel: PanelMaker, app: Any, scan: Any, tmp_path: Path
    ) -> None:
        panel = make_panel()
        assert press_and_wait(panel).startswith("Done")
        out = tmp_path / "out"
        out.mkdir()
        app.chosen_folder = str(out)
        panel.ui.exportFolderButton.click()
        said = wait_for(panel)
        (folder,) = out.iterdir()
        assert f"Wrote {SHAPE[0]} images (synthetic B20f, research only)" in said
        assert str(folder) in said
        again = read_volume(folder)
        assert again.synthetic
        (node,) = synthetic()
        np.testing.assert_array_equal(again.hu, np.rint(slicer.util.arrayFromVolume(node)))
        header = read_header(next(folder.iterdir()))
        assert header is not None
        assert header.StudyInstanceUID == pydicom.dcmread(next((tmp_path / "scan").iterdir())).StudyInstanceUID

    def test_what_was_exported_comes_back_from_the_database_as_synthetic(
        self, make_panel: PanelMaker, database: DicomDatabase, scan: Any, made: Any
    ) -> None:
        panel = make_panel()
        expected = np.rint(slicer.util.arrayFromVolume(made))
        panel.ui.exportDatabaseButton.click()
        assert "Added to the DICOM database" in wait_for(panel)
        (uid,) = set(database.series) - {KEPT}
        assert database.series[uid] == SHAPE[0]
        slicer.mrmlScene.RemoveNode(made)
        panel.update()
        (node_id,) = database.loadSeriesByUID([uid])
        node = slicer.mrmlScene.GetNodeByID(node_id)
        waitUntil(lambda: provenance.isSynthetic(node), "the module to know the series")
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), expected)
        assert node.GetID() in panel.ui.inputSelector.sortFilterProxyModel().hiddenNodeIDs
        assert panel.logic.newestCandidate() is scan

    def test_a_scan_from_a_file_leaves_the_buttons_off_and_the_tool_tip_says_why(
        self, make_panel: PanelMaker, database: DicomDatabase, scan: Any, made: Any
    ) -> None:
        scan.RemoveAttribute("DICOM.instanceUIDs")
        panel = make_panel()
        for button in (panel.ui.exportFolderButton, panel.ui.exportDatabaseButton):
            assert not button.enabled
            assert "was not loaded from DICOM" in button.toolTip

    def test_without_anything_synthetic_the_tool_tip_says_what_to_do(self, make_panel: PanelMaker, scan: Any) -> None:
        panel = make_panel()
        assert not panel.ui.exportFolderButton.enabled
        assert "Normalize makes one" in panel.ui.exportFolderButton.toolTip

    def test_files_that_are_gone_are_said(self, make_panel: PanelMaker, tmp_path: Path, scan: Any, made: Any) -> None:
        panel = make_panel()
        assert panel.ui.exportFolderButton.enabled
        (tmp_path / "database" / f"{scan.GetAttribute('DICOM.instanceUIDs').split()[4]}.dcm").unlink()
        panel.export.exportTo(tmp_path)
        assert "1 of 12 DICOM files" in wait_for(panel)
        assert "import the series again" in panel.ui.statusLabel.text

    def test_a_failed_export_leaves_nothing_and_is_said(self, make_panel: PanelMaker, tmp_path: Path, made: Any) -> None:
        panel = make_panel()
        panel.export.exportTo(tmp_path / "nowhere")
        assert "No DICOM was written" in wait_for(panel)
        assert not (tmp_path / "nowhere").exists()

    def test_a_cancelled_export_leaves_nothing(self, make_panel: PanelMaker, tmp_path: Path, made: Any) -> None:
        panel = make_panel()
        (tmp_path / "out").mkdir()
        panel.export.exportTo(tmp_path / "out")
        assert panel.ui.exportFolderButton.text == "Cancel export"
        panel.ui.exportFolderButton.click()
        assert "Cancelled" in wait_for(panel)
        assert list((tmp_path / "out").iterdir()) == []
        assert panel.ui.exportFolderButton.text == "Export DICOM…"


def test_an_enhanced_ct_from_the_database_says_its_kernel(database: DicomDatabase, app: Any, tmp_path: Path) -> None:
    write_enhanced(tmp_path / "enhanced" / "all.dcm", chest_hu(), kernel="Br59f", uid="1.2.3.59")
    database.importDicom(str(tmp_path / "enhanced"), copyFiles=True)
    node = slicer.util.addVolumeFromArray(chest_hu(), name="enhanced")  # Slicer loads it as one file and names one instance
    node.SetAttribute("DICOM.instanceUIDs", database.strict().instancesForSeries("1.2.3.59")[0])
    facts = acquisitionFromNode(node, databaseTagReader())
    assert (facts.kernel, facts.slice_thickness_mm, facts.tube_voltage_kv) == ("Br59f", 1.5, 120.0)
    assert facts.series_instance_uid == "1.2.3.59"


def test_a_database_that_takes_only_part_keeps_none(app: Any, make_panel: PanelMaker, tmp_path: Path) -> None:
    write_series(tmp_path / "scan", chest_hu(), step=8.0, pixel=(4.0, 4.0), uid=KEPT)
    with open_database(tmp_path / "database", full=5) as database:
        for path in (tmp_path / "scan").iterdir():
            header = pydicom.dcmread(path)
            database._files[header.SOPInstanceUID] = path
            database._series.setdefault(KEPT, []).append(header.SOPInstanceUID)
        (node_id,) = database.loadSeriesByUID([KEPT])
        scan = slicer.mrmlScene.GetNodeByID(node_id)
        scan.CreateDefaultDisplayNodes()
        hu = slicer.util.arrayFromVolume(scan).astype(np.float32)
        addSyntheticVolumeNodeFromVoxels(hu, {"method": "linear"}, Acquisition(), scan)
        panel = make_panel()
        panel.ui.exportDatabaseButton.click()
        assert "took 5 of 12 files" in wait_for(panel)
        assert set(database.series) == {KEPT}


class TestEmphysema:
    @pytest.mark.slow
    def test_segmentation_and_report_of_both_volumes_are_what_was_measured(
        self, measuring: EmphysemaPanel, app: Any, made: Any, tmp_path: Path
    ) -> None:
        hd = pytest.importorskip("highdicom", reason="highdicom (the extra dicom) is not installed")
        assert compute(measuring).startswith("Done")
        (tmp_path / "out").mkdir()
        app.chosen_folder = str(tmp_path / "out")
        measuring.ui.exportFolderButton.click()
        assert "Wrote segmentation (SEG) and report (SR)" in wait_for(measuring)
        (folder,) = (tmp_path / "out").iterdir()
        objects = ["report.dcm", "scan_report.dcm", "scan_segmentation.dcm", "segmentation.dcm"]
        assert [name for name in files_in(folder) if not name.startswith("ct")] == objects
        result = measuring.result
        assert result is not None
        for volume, prefix in zip(result.volumes, ("scan_", ""), strict=True):
            seg = hd.seg.segread(str(folder / f"{prefix}segmentation.dcm"))
            labels = [str(item.SegmentLabel) for item in seg.SegmentSequence]
            instances = self.instances(folder, tmp_path, volume.synthetic)
            pixels = seg.get_pixels_by_source_instance(instances, assert_missing_frames_are_empty=True) > 0
            np.testing.assert_array_equal(pixels[..., labels.index("Emphysema")], volume.emphysema)
            report = hd.sr.srread(str(folder / f"{prefix}report.dcm"))
            (whole,) = [g for g in report.content.get_image_measurement_groups() if g.tracking_identifier == "whole"]
            found = {m.name.value: float(m[0].MeasuredValueSequence[0].FloatingPointValue) for m in whole.get_measurements()}
            assert (found["EI"], found["118565006"]) == (volume.whole.ei_percent, volume.whole.tlv_ml)

    @staticmethod
    def instances(folder: Path, tmp_path: Path, is_synthetic: bool) -> list[str]:
        images = [pydicom.dcmread(p) for p in (folder / "ct" if is_synthetic else tmp_path / "scan").iterdir()]
        return [str(image.SOPInstanceUID) for image in sorted(images, key=lambda image: image.ImagePositionPatient[2])]

    @pytest.mark.slow
    def test_all_of_it_goes_into_the_database(self, measuring: EmphysemaPanel, database: DicomDatabase, made: Any) -> None:
        pytest.importorskip("highdicom", reason="highdicom (the extra dicom) is not installed")
        compute(measuring)
        measuring.ui.exportDatabaseButton.click()
        assert "Added to the DICOM database" in wait_for(measuring)
        assert sorted(database.series.values()) == [1, 1, 1, 1, SHAPE[0], SHAPE[0]]

    def test_before_anything_is_measured_the_tool_tip_says_so(self, measuring: EmphysemaPanel, scan: Any) -> None:
        measuring.enter()
        assert not measuring.ui.exportFolderButton.enabled
        assert "Press Compute first" in measuring.ui.exportFolderButton.toolTip

    def test_a_mask_that_failed_is_not_exported(self, measuring: EmphysemaPanel, scan: Any) -> None:
        scan.SetSpacing(1.0, 1.0, 2.0)  # lungs of some millilitres
        compute(measuring)
        assert not measuring.ui.exportFolderButton.enabled
        assert "mL of lung were found" in measuring.ui.exportFolderButton.toolTip

    def test_a_chest_from_a_file_leaves_the_buttons_off(self, measuring: EmphysemaPanel, scan: Any) -> None:
        scan.RemoveAttribute("DICOM.instanceUIDs")
        compute(measuring)
        assert not measuring.ui.exportDatabaseButton.enabled
        assert "was not loaded from DICOM" in measuring.ui.exportDatabaseButton.toolTip
