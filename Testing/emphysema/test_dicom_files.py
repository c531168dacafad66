"""A measurement as DICOM: objects of the scan and of its synthetic volume, valid and with the numbers that were measured."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.dicomseries import write_series
from core.enhancedct import write_enhanced
from logic.toychest import SHAPE, chest_hu, lung_boxes

from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.results.dicom_files import export_measurement
from EmphysemaQuantLib.core.results.measurement import Measurement, measure
from EmphysemaQuantLib.core.results.quantification import supplied_mask
from KernelNormalizationLib.core.errors import Cancelled, InputError
from KernelNormalizationLib.core.io.dicom_written import WrittenDicom
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.progress import ProgressTracker

hd = pytest.importorskip("highdicom", reason="highdicom (the extra dicom) is not installed")
needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")


@dataclass
class Exported:
    """What was measured, and the folder it was written to."""

    measurement: Measurement
    source: list[Path]
    folder: Path
    written: WrittenDicom


def measured_pair(folder: Path) -> tuple[Measurement, list[Path]]:
    """A scan of two boxes and its synthetic volume, measured; and the scan's files."""
    write_series(folder, chest_hu().astype(np.int16), step=8.0, pixel=(5.0, 5.0))
    scan = read_volume(folder)
    made = scan.with_hu(scan.hu + np.float32(0.25), name="made", synthetic=True)
    record = {"method": "linear", "version": "0.1.0"}
    measurement = measure([scan, made], supplied_mask(*lung_boxes()), provenance={made: record})
    return measurement, sorted(folder.iterdir())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("files")
    measurement, source = measured_pair(folder / "scan")
    written = export_measurement(measurement, [source, source], folder / "out")
    return Exported(measurement, source, folder / "out", written)


def test_what_is_told_is_what_lies_there(exported: Exported) -> None:
    found: dict[str, int] = {}
    for path in exported.folder.rglob("*.dcm"):
        uid = str(pydicom.dcmread(path).SeriesInstanceUID)
        found[uid] = found.get(uid, 0) + 1
    assert dict(exported.written.series) == found
    assert sorted(found.values()) == [1, 1, 1, 1, SHAPE[0]]


@pytest.mark.parametrize("prefix", ["scan_", ""])
def test_the_reports_numbers_are_the_measurements(exported: Exported, prefix: str) -> None:
    (volume,) = [one for one in exported.measurement.volumes if one.synthetic == (prefix == "")]
    content = hd.sr.srread(str(exported.folder / f"{prefix}report.dcm")).content
    groups = [*content.get_volumetric_roi_measurement_groups(), *content.get_image_measurement_groups()]
    for region in volume.indices:
        (group,) = [one for one in groups if one.tracking_identifier == region.region]
        found = {m.name.value: float(m[0].MeasuredValueSequence[0].FloatingPointValue) for m in group.get_measurements()}
        assert found == {
            "EI": region.ei_percent,
            "EV": region.ev_ml,
            "118565006": region.tlv_ml,
            "PERC15": region.perc15_hu,
            "112181": region.mld_hu,
        }


@pytest.mark.parametrize("prefix", ["scan_", ""])
def test_only_the_synthetic_ones_say_that_they_are_synthetic(exported: Exported, prefix: str) -> None:
    for name in ("segmentation.dcm", "report.dcm"):
        described = str(pydicom.dcmread(exported.folder / f"{prefix}{name}").SeriesDescription)
        assert "research only" in described
        assert ("synthetic" in described) == (prefix == "")


def test_the_scans_objects_refer_to_the_scans_images(exported: Exported) -> None:
    uids = {str(pydicom.dcmread(path).SOPInstanceUID) for path in exported.source}
    segmentation = pydicom.dcmread(exported.folder / "scan_segmentation.dcm")
    (series,) = segmentation.ReferencedSeriesSequence
    assert {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedInstanceSequence} == uids


@needs_dciodvfy
def test_an_independent_validator_finds_no_error(exported: Exported) -> None:
    for path in [*exported.folder.glob("*.dcm"), exported.folder / "ct" / "ct_0001.dcm"]:
        found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, errors="replace")
        assert [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error")] == [], path.name


@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="dcmdump (Debian's dcmtk) is not installed")
def test_dcmtk_finds_the_same_voxels(exported: Exported, tmp_path: Path) -> None:
    (volume,) = [one.ct for one in exported.measurement.volumes if one.synthetic]
    for k in (0, SHAPE[0] - 1):
        path = exported.folder / "ct" / f"ct_{k + 1:04d}.dcm"
        subprocess.run(["dcmdump", "+W", str(tmp_path), str(path)], capture_output=True, check=True)
        raw = np.fromfile(next(tmp_path.glob(f"{path.name}*.raw")), "<u2").reshape(SHAPE[1:])
        np.testing.assert_array_equal(raw - 1024.0, np.rint(volume.hu[k]))


@pytest.mark.slow
def test_a_stopped_export_leaves_nothing(tmp_path: Path) -> None:
    measurement, source = measured_pair(tmp_path / "scan")
    progress = ProgressTracker(is_cancelled=lambda: bool(list(tmp_path.rglob("ct_0003.dcm"))))
    with pytest.raises(Cancelled):
        export_measurement(measurement, [source, source], tmp_path / "out", progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan"]


def test_files_of_another_series_are_refused(tmp_path: Path) -> None:
    measurement, source = measured_pair(tmp_path / "scan")
    write_series(tmp_path / "other", chest_hu().astype(np.int16), step=8.0, pixel=(5.0, 5.0), start=(0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="does not lie where the source series does"):
        export_measurement(measurement, [sorted((tmp_path / "other").iterdir()), source], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@dataclass
class Enhanced:
    """An enhanced CT whose frames are stored from the head downwards, measured with its synthetic volume, and exported."""

    measurement: Measurement
    file: Path
    folder: Path


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory: pytest.TempPathFactory) -> Enhanced:
    folder = tmp_path_factory.mktemp("enhanced")

    def head_first(ds: pydicom.Dataset) -> None:
        groups = ds.PerFrameFunctionalGroupsSequence
        places = [group.PlanePositionSequence for group in groups]
        for group, place in zip(groups, reversed(places), strict=True):
            group.PlanePositionSequence = place

    file = folder / "in" / "all.dcm"
    write_enhanced(file, chest_hu().astype(np.int16)[::-1], change=head_first)
    scan = read_volume(folder / "in")
    made = scan.with_hu(scan.hu + np.float32(0.25), name="made", synthetic=True)
    record = {"method": "linear", "version": "0.1.0"}
    measurement = judged_ok(measure([scan, made], supplied_mask(*lung_boxes()), provenance={made: record}))
    export_measurement(measurement, [[file], [file]], folder / "out")
    return Enhanced(measurement, file, folder / "out")


def judged_ok(measurement: Measurement) -> Measurement:
    """With a mask that passes: two boxes are no lungs."""
    return replace(measurement, lung_mask=replace(measurement.lung_mask, quality=MaskQuality("ok")))


def test_the_segments_of_an_enhanced_scan_lie_on_the_frames_that_were_measured(enhanced: Enhanced) -> None:
    source = pydicom.dcmread(enhanced.file)
    seg = hd.seg.segread(str(enhanced.folder / "scan_segmentation.dcm"))
    frames = list(range(1, int(source.NumberOfFrames) + 1))
    pixels = seg.get_pixels_by_source_frame(source.SOPInstanceUID, frames, assert_missing_frames_are_empty=True) > 0
    labels = [str(item.SegmentLabel) for item in seg.SegmentSequence]
    mask, original = enhanced.measurement.lung_mask, enhanced.measurement.volumes[0]
    expected = {"Right lung": mask.labels == 1, "Left lung": mask.labels == 2, "Emphysema": original.emphysema}
    for label, array in expected.items():
        assert array.any()
        # the file's frames begin at the head, the volume's slices at the feet
        np.testing.assert_array_equal(pixels[::-1][..., labels.index(label)], array)
    heights = [group.PlanePositionSequence[0].ImagePositionPatient[2] for group in source.PerFrameFunctionalGroupsSequence]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        number = int(frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        assert frame.PlanePositionSequence[0].ImagePositionPatient[2] == heights[number - 1]


def test_the_report_of_an_enhanced_scan_names_the_scan_and_its_numbers(enhanced: Enhanced) -> None:
    report = hd.sr.srread(str(enhanced.folder / "scan_report.dcm"))
    named = [
        str(image.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    ]
    assert str(pydicom.dcmread(enhanced.file).SOPInstanceUID) in named
    groups = {g.tracking_identifier: g for g in report.content.get_volumetric_roi_measurement_groups()}
    found = {m.name.value: float(m[0].MeasuredValueSequence[0].FloatingPointValue) for m in groups["right"].get_measurements()}
    (right,) = [region for region in enhanced.measurement.volumes[0].indices if region.region == "right"]
    assert (found["EI"], found["118565006"]) == (right.ei_percent, right.tlv_ml)


@needs_dciodvfy
def test_an_independent_validator_finds_no_error_in_what_was_made_of_an_enhanced_scan(enhanced: Enhanced) -> None:
    for path in [*enhanced.folder.glob("*.dcm"), enhanced.folder / "ct" / "ct_0001.dcm"]:
        found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, errors="replace")
        assert [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error")] == [], path.name


def test_an_enhanced_scan_in_several_files_gets_no_objects_and_it_is_said(tmp_path: Path) -> None:
    hu = chest_hu().astype(np.int16)
    write_enhanced(tmp_path / "in" / "a.dcm", hu[:4], uid="1.2.3.9")
    write_enhanced(tmp_path / "in" / "b.dcm", hu[4:], uid="1.2.3.9", first=4)
    measurement = judged_ok(measure([read_volume(tmp_path / "in")], supplied_mask(*lung_boxes())))
    with pytest.raises(InputError, match="multi-frame"):
        export_measurement(measurement, [sorted((tmp_path / "in").iterdir())], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("charset", ["ISO 2022 IR 87", "ISO 2022 IR 149", "ISO_IR 100"])
def test_names_in_any_character_set_are_kept(tmp_path: Path, charset: str) -> None:
    """highdicom refuses a single ISO 2022 character set, as scanners in Japan and Korea write it."""
    name = {"ISO 2022 IR 87": "Yamada^Tarou", "ISO 2022 IR 149": "Hong^Gildong=洪^吉洞", "ISO_IR 100": "Müller^Jörg"}[charset]

    def named(_: int, ds: pydicom.FileDataset) -> None:
        ds.SpecificCharacterSet, ds.PatientName = charset, name

    write_series(tmp_path / "scan", chest_hu().astype(np.int16), step=8.0, pixel=(5.0, 5.0), change=named)
    scan = read_volume(tmp_path / "scan")
    made = scan.with_hu(scan.hu + np.float32(0.25), name="made", synthetic=True)
    measurement = measure([scan, made], supplied_mask(*lung_boxes()), provenance={made: {"method": "linear"}})
    files = sorted((tmp_path / "scan").iterdir())
    expected = str(pydicom.dcmread(files[0]).PatientName)
    export_measurement(measurement, [files, files], tmp_path / "out")
    written = [pydicom.dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    assert len(written) == SHAPE[0] + 4
    assert {str(one.PatientName) for one in written} == {expected}
    assert expected.split("^")[0] in name


def test_damaged_dates_are_left_empty(tmp_path: Path) -> None:
    """A damaged study date ended in a traceback; an empty one is valid."""
    write_series(tmp_path / "scan", chest_hu().astype(np.int16), step=8.0, pixel=(5.0, 5.0))
    for path in (tmp_path / "scan").iterdir():
        with pydicom.config.disable_value_validation():
            ds = pydicom.dcmread(path)
            ds.StudyDate, ds.StudyTime = "2020-13-45", "late"
            ds.save_as(path)
    scan = read_volume(tmp_path / "scan")
    files = sorted((tmp_path / "scan").iterdir())
    export_measurement(measure([scan], supplied_mask(*lung_boxes())), [files], tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.dcm"):
        made = pydicom.dcmread(path)
        assert (made.StudyDate, made.StudyTime) == ("", "")
        assert made.StudyInstanceUID == pydicom.dcmread(files[0]).StudyInstanceUID
