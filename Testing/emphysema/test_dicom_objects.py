"""Masks and numbers that leave as DICOM are the ones that were measured, and other programs read them."""

from __future__ import annotations

import builtins
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from core.dicomseries import chest_slices, write_series

from EmphysemaQuantLib.core.indices.density import RegionIndices, compute_indices
from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.dicom_objects import Maker, report_object, segmentation_object
from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_export import export_series
from KernelNormalizationLib.core.io.reading import read_volume

hd = pytest.importorskip("highdicom", reason="highdicom (the extra dicom) is not installed")
RECORD = {"method": "linear", "version": "0.1.0"}
MAKER = Maker("0.1.0")
THRESHOLD = -905.5


@dataclass
class Measured:
    """A synthetic series on disk, what was measured on it, and both objects."""

    images: tuple[pydicom.Dataset, ...]
    mask: LungMask
    emphysema: BoolArray
    regions: list[RegionIndices]
    seg_path: Path
    sr_path: Path

    @property
    def uids(self) -> list[str]:
        return [str(image.SOPInstanceUID) for image in self.images]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("objects")
    write_series(folder / "in", chest_slices())
    volume = read_volume(folder / "in")
    made = volume.with_hu(volume.hu + np.float32(0.25), name="made", synthetic=True)
    written = export_series(made, sorted((folder / "in").iterdir()), RECORD, folder / "ct")
    mask = hand_drawn(made.shape)
    emphysema = emphysema_mask(made.hu, mask.mask, THRESHOLD)
    regions = compute_indices(made, mask, THRESHOLD)
    seg = segmentation_object(written.headers, mask, emphysema, THRESHOLD, MAKER)
    seg.save_as(folder / "seg.dcm")
    report_object(written.headers, seg, regions, MAKER).save_as(folder / "sr.dcm")
    return Measured(written.headers, mask, emphysema, regions, folder / "seg.dcm", folder / "sr.dcm")


def hand_drawn(shape: tuple[int, int, int]) -> LungMask:
    """Lungs with lobes and an airway; the first and last slice hold none of them."""
    labels = np.zeros(shape, np.uint8)
    labels[1:-1, 5:, :7], labels[1:-2, 5:, 8:] = 1, 2
    airways = np.zeros(shape, bool)
    airways[2:-1, 5:8, 7] = True
    lobes = np.where(labels == 1, 1, np.where(labels == 2, 4, 0)).astype(np.uint8)
    lobes[1:4][labels[1:4] == 1], lobes[1:4][labels[1:4] == 2] = 3, 5
    return LungMask(labels, airways, MaskQuality("ok"), lobes)


@pytest.mark.slow
def test_every_segment_equals_the_mask_in_memory(measured: Measured) -> None:
    seg = hd.seg.segread(str(measured.seg_path))
    pixels = seg.get_pixels_by_source_instance(measured.uids, assert_missing_frames_are_empty=True)
    in_memory = {
        "Right lung": measured.mask.labels == 1,
        "Left lung": measured.mask.labels == 2,
        "Airways": measured.mask.airways,
        "Emphysema": measured.emphysema,
    }
    assert [str(item.SegmentLabel) for item in seg.SegmentSequence] == list(in_memory)
    for n, array in enumerate(in_memory.values()):
        assert array.any()
        np.testing.assert_array_equal(pixels[..., n] > 0, array)


def test_segments_lie_where_the_images_lie(measured: Measured) -> None:
    seg = pydicom.dcmread(measured.seg_path)
    assert seg.FrameOfReferenceUID == measured.images[0].FrameOfReferenceUID
    assert seg.StudyInstanceUID == measured.images[0].StudyInstanceUID
    places = {tuple(f.PlanePositionSequence[0].ImagePositionPatient) for f in seg.PerFrameFunctionalGroupsSequence}
    assert places <= {tuple(image.ImagePositionPatient) for image in measured.images}


def test_segments_have_snomed_codes_with_sides(measured: Measured) -> None:
    kinds = [item.SegmentedPropertyTypeCodeSequence[0] for item in pydicom.dcmread(measured.seg_path).SegmentSequence]
    assert [(kind.CodeValue, kind.CodingSchemeDesignator) for kind in kinds] == [
        ("39607008", "SCT"),
        ("39607008", "SCT"),
        ("89187006", "SCT"),
        ("87433001", "SCT"),
    ]
    sides = [kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning for kind in kinds[:2]]
    assert sides == ["Right", "Left"]


def numbers_of(group: Any) -> dict[str, tuple[float, str]]:
    """Code value -> (number, unit) of a measurement group."""
    found = {}
    for measurement in group.get_measurements():
        value = measurement[0].MeasuredValueSequence[0]
        found[measurement.name.value] = (float(value.FloatingPointValue), value.MeasurementUnitsCodeSequence[0].CodeValue)
        assert float(value.NumericValue) == pytest.approx(float(value.FloatingPointValue), rel=1e-9)
    return found


@pytest.mark.slow
def test_the_reports_numbers_are_the_measurements(measured: Measured) -> None:
    report = hd.sr.srread(str(measured.sr_path))
    with_segment = report.content.get_volumetric_roi_measurement_groups()
    groups = {g.tracking_identifier: g for g in [*with_segment, *report.content.get_image_measurement_groups()]}
    assert set(groups) == {entry.region for entry in measured.regions} | {"emphysema"}
    for entry in measured.regions:
        expected = {
            "EI": (entry.ei_percent, "%"),
            "EV": (entry.ev_ml, "mL"),
            "118565006": (entry.tlv_ml, "mL"),
            "PERC15": (entry.perc15_hu, "[hnsf'U]"),
            "112181": (entry.mld_hu, "[hnsf'U]"),
        }
        assert numbers_of(groups[entry.region]) == expected, entry.region
    assert numbers_of(groups["emphysema"]) == {"118565006": (measured.regions[0].ev_ml, "mL")}


def test_right_left_and_emphysema_refer_to_their_segment(measured: Measured) -> None:
    seg = pydicom.dcmread(measured.seg_path)
    labels = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    report = hd.sr.srread(str(measured.sr_path))
    found = {}
    for group in report.content.get_volumetric_roi_measurement_groups():
        (segment,) = [item for item in group[0].ContentSequence if item.name.value == "121191"]  # Referenced Segment
        item = segment.ReferencedSOPSequence[0]
        assert item.ReferencedSOPInstanceUID == seg.SOPInstanceUID
        found[group.tracking_identifier] = labels[int(item.ReferencedSegmentNumber)]
    assert found == {"right": "Right lung", "left": "Left lung", "emphysema": "Emphysema"}


def test_both_say_that_they_are_for_research_and_of_a_synthetic_image(measured: Measured) -> None:
    seg, report = pydicom.dcmread(measured.seg_path), pydicom.dcmread(measured.sr_path)
    assert seg.SeriesDescription == "synthetic B20f: lungs and emphysema, research only"
    assert report.SeriesDescription == "synthetic B20f: emphysema indices, research only"
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert len({seg.SeriesInstanceUID, report.SeriesInstanceUID, measured.images[0].SeriesInstanceUID}) == 3
    assert len({seg.SeriesNumber, report.SeriesNumber, measured.images[0].SeriesNumber}) == 3


def test_an_empty_segment_is_left_out_and_the_numbers_still_refer_to_the_right_one(measured: Measured) -> None:
    left_only = np.where(measured.mask.labels == 2, 2, 0).astype(np.uint8)
    mask = LungMask(left_only, np.zeros(left_only.shape, bool), MaskQuality("ok"))
    emphysema = measured.emphysema & (left_only > 0)
    seg = segmentation_object(measured.images, mask, emphysema, THRESHOLD, Maker("0.1.0", "supplied"))
    labels = [(int(i.SegmentNumber), str(i.SegmentLabel), str(i.SegmentAlgorithmType)) for i in seg.SegmentSequence]
    assert labels == [(1, "Left lung", "SEMIAUTOMATIC"), (2, "Emphysema", "AUTOMATIC")]


def test_a_mask_of_another_series_is_refused(measured: Measured) -> None:
    with pytest.raises(InputError, match="both must be of one series"):
        segmentation_object(measured.images[:-1], measured.mask, measured.emphysema, THRESHOLD, MAKER)


def test_without_highdicom_it_is_said_what_to_install(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name == "highdicom":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"ctkernelnormalization\[dicom\]"):
        segmentation_object(measured.images, measured.mask, measured.emphysema, THRESHOLD, MAKER)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("which", ["seg_path", "sr_path"])
def test_an_independent_validator_finds_no_error(measured: Measured, which: str) -> None:
    found = subprocess.run(["dciodvfy", str(getattr(measured, which))], capture_output=True, text=True, check=False)
    assert [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error")] == []


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dsrdump (dcmtk) is not installed")
def test_dcmtk_reads_the_report(measured: Measured) -> None:
    found = subprocess.run(["dsrdump", str(measured.sr_path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "Emphysema index" in found.stdout
