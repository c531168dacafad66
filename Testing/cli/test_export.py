"""``ctkernel export``: from a DICOM folder through normalization and measurement back into DICOM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from core.dicomseries import write_series
from core.enhancedct import item, write_enhanced

from ctkernel.cli import main
from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from KernelNormalizationLib.core.io.dicom_derived import manifest_of
from KernelNormalizationLib.core.io.dicom_export import is_synthetic_header
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import SamplePair

hd = pytest.importorskip("highdicom", reason="highdicom (the extra dicom) is not installed")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Files:
    """What a user has before exporting."""

    source: Path
    synthetic: Path
    mask: Path
    results: Path

    def export(self, out: Path, *more: str) -> int:
        return main(["export", str(self.source), str(self.synthetic), "--out", str(out), *more])


@pytest.fixture(scope="module")
def files(sample: SamplePair, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("export")

    def odd_name(k: int, ds: pydicom.Dataset) -> None:
        ds.PatientName = "Doe-Jane"  # one component: DICOM libraries warn of it, and quote it

    write_series(folder / "scan", sample.sharp.hu.astype(np.int16), step=10.0, pixel=(1.6, 1.6), kernel="B80f", change=odd_name)
    assert main(["normalize", str(folder / "scan"), str(folder / "smooth.nrrd"), "--method", "linear"]) == 0
    measure = ["quantify", str(folder / "scan"), "--compare", str(folder / "smooth.nrrd"), "--out", str(folder / "measured")]
    assert main(measure) == 0
    found = folder / "measured"
    return Files(folder / "scan", folder / "smooth.nrrd", found / "emphysema.seg.nrrd", found / "metrics.json")


@pytest.fixture(scope="module")
def everything(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "dicom"
    assert files.export(out, "--mask", str(files.mask), "--results", str(files.results)) == 0
    return out


def numbers(report: Path, region: str) -> dict[str, float]:
    """Code value -> number of one region of a report."""
    content = hd.sr.srread(str(report)).content
    groups = [*content.get_volumetric_roi_measurement_groups(), *content.get_image_measurement_groups()]
    (group,) = [g for g in groups if g.tracking_identifier == region]
    return {m.name.value: float(m[0].MeasuredValueSequence[0].FloatingPointValue) for m in group.get_measurements()}


def test_the_report_has_the_numbers_of_the_measurement(files: Files, everything: Path) -> None:
    volumes = json.loads(files.results.read_text())["volumes"]
    (normalized,) = [v for v in volumes if v["synthetic"]]
    for region in normalized["regions"][:3]:
        found = numbers(everything / "report.dcm", region["region"])
        assert found == {
            "EI": region["ei_percent"],
            "EV": region["ev_ml"],
            "118565006": region["tlv_ml"],
            "PERC15": region["perc15_hu"],
            "112181": region["mld_hu"],
        }


def test_the_segmentation_is_the_measured_mask(files: Files, everything: Path) -> None:
    volume = read_volume(files.synthetic)
    mask = read_mask(volume, files.mask)
    uids = [pydicom.dcmread(p).SOPInstanceUID for p in sorted((everything / "ct").iterdir())]
    seg = hd.seg.segread(str(everything / "segmentation.dcm"))
    labels = [str(item.SegmentLabel) for item in seg.SegmentSequence]
    pixels = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True) > 0
    np.testing.assert_array_equal(pixels[..., labels.index("Right lung")], mask.labels == 1)
    np.testing.assert_array_equal(pixels[..., labels.index("Left lung")], mask.labels == 2)
    np.testing.assert_array_equal(pixels[..., labels.index("Emphysema")], emphysema_mask(volume.hu, mask.mask))


def test_the_series_has_the_rounded_voxels_in_the_same_place(files: Files, everything: Path) -> None:
    made, again = read_volume(files.synthetic), read_volume(everything / "ct")
    np.testing.assert_array_equal(again.hu, np.rint(made.hu))
    assert again.geometry.matches(made.geometry, 1e-6)
    assert all(is_synthetic_header(pydicom.dcmread(p)) for p in (everything / "ct").iterdir())


def test_all_objects_share_the_study_of_the_scan(files: Files, everything: Path) -> None:
    scan = pydicom.dcmread(next(files.source.iterdir()))
    for path in everything.rglob("*.dcm"):
        found = pydicom.dcmread(path)
        assert (found.StudyInstanceUID, found.PatientID) == (scan.StudyInstanceUID, scan.PatientID)
        assert "research only" in found.SeriesDescription


def test_neither_file_names_nor_messages_hold_the_patients_name(
    files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert files.export(tmp_path / "out", "--mask", str(files.mask), "--verbose") == 0
    said = "".join(capfd.readouterr()) + " ".join(str(found.message) for found in warned)
    named = " ".join(str(p) for p in tmp_path.rglob("*"))
    for word in ("Doe", "Jane", "PID4711"):
        assert word not in said + named


def test_without_a_mask_only_the_series_is_written(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.export(tmp_path / "out", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["images"] == 24
    assert facts["largest_rounding_hu"] <= 0.5
    assert "rounded to 1 HU" in facts["encoding"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["ct"]


def test_the_lungs_can_be_segmented_on_the_spot(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.export(tmp_path / "out", "--segmentation", "--threshold", "-940", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["threshold_hu"] == -940.0
    assert numbers(tmp_path / "out" / "report.dcm", "whole")["EI"] == facts["ei_percent"]
    seg = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    assert {str(item.SegmentAlgorithmType) for item in seg.SegmentSequence} == {"AUTOMATIC"}


def refused(files: Files, out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert files.export(out, *more) == 2
    assert not out.exists()
    assert list(out.parent.glob(".ctkernel-unfinished-*")) == []
    return capsys.readouterr().err


def test_results_of_another_mask_are_refused(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, Any] = json.loads(files.results.read_text())
    for volume in told["volumes"]:
        volume["regions"][0]["ei_percent"] += 0.01
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps(told))
    said = refused(files, tmp_path / "out", capsys, "--mask", str(files.mask), "--results", str(other))
    assert "Give the mask that was measured" in said
    assert "--mask" in refused(files, tmp_path / "out", capsys, "--results", str(other))


def _without_regions(volume: dict[str, Any]) -> None:
    volume["regions"] = []


def _a_decimal_comma(volume: dict[str, Any]) -> None:
    volume["regions"][0]["ei_percent"] = "7,79"


def _no_index(volume: dict[str, Any]) -> None:
    volume["regions"][1]["ei_percent"] = None


def _no_threshold(volume: dict[str, Any]) -> None:
    volume["regions"][0]["threshold_hu"] = "x"


@pytest.mark.parametrize("edit", [None, _without_regions, _a_decimal_comma, _no_index, _no_threshold])
def test_results_that_were_edited_are_refused(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[dict[str, Any]], None] | None
) -> None:
    told: dict[str, Any] = json.loads(files.results.read_text())
    if edit is not None:
        edit(told["volumes"][1])
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps([] if edit is None else told))
    said = refused(files, tmp_path / "out", capsys, "--mask", str(files.mask), "--results", str(other))
    assert "holds no indices of a synthetic volume; give the metrics.json that ctkernel quantify wrote." in said


def test_results_that_an_editor_marked_as_utf8_are_still_results(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "metrics.json"
    other.write_bytes(b"\xef\xbb\xbf" + files.results.read_bytes().replace(b"\n", b"\r\n"))
    assert files.export(tmp_path / "out", "--mask", str(files.mask), "--results", str(other)) == 0


def test_a_stop_during_the_last_step_leaves_no_folder(files: Files, tmp_path: Path) -> None:
    work = (
        "import os, signal, sys\n"
        "from ctkernel.cli import main\n"
        "def stop(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('report.dcm'):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.addaudithook(stop)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    out = tmp_path / "out"
    arguments = ["export", files.source, files.synthetic, "--out", out, "--mask", files.mask]
    done = subprocess.run(
        [sys.executable, "-c", work, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("Cancelled during") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_volume_that_does_not_say_how_it_was_made_is_refused(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.nrrd"
    shutil.copy(files.synthetic, alone)
    said = refused(Files(files.source, alone, files.mask, files.results), tmp_path / "out", capsys)
    assert "alone.provenance.json is not beside alone.nrrd" in said


def test_without_a_dicom_source_it_is_said_what_to_do(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(Files(files.synthetic, files.synthetic, files.mask, files.results), tmp_path / "out", capsys)
    assert "is not DICOM" in said
    assert "give the DICOM folder of the scan" in said


def test_among_several_series_the_provenance_names_the_source(files: Files, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(files.source, both / "a")
    write_series(both / "b", np.full((9, 12, 16), -800, np.int16), stem="other")
    assert Files(both, files.synthetic, files.mask, files.results).export(tmp_path / "out") == 0
    image = pydicom.dcmread(tmp_path / "out" / "ct" / "ct_0001.dcm")
    scan = {pydicom.dcmread(p).SOPInstanceUID for p in files.source.iterdir()}
    assert image.SourceImageSequence[0].ReferencedSOPInstanceUID in scan


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_an_independent_validator_finds_no_error(everything: Path) -> None:
    for path in (everything / "segmentation.dcm", everything / "report.dcm", everything / "ct" / "ct_0012.dcm"):
        found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error")] == []


@pytest.mark.skipif(shutil.which("dcentvfy") is None, reason="dcentvfy (Debian's dicom3tools) is not installed")
def test_an_independent_validator_finds_scan_and_export_consistent(files: Files, everything: Path) -> None:
    paths = [str(p) for p in [*files.source.iterdir(), *everything.rglob("*.dcm")]]
    found = subprocess.run(["dcentvfy", *paths], capture_output=True, text=True, check=False)
    assert [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error")] == []


def test_the_whole_record_travels_in_the_images_and_the_model_s_hash_in_all_objects(files: Files, everything: Path) -> None:
    record = json.loads((files.synthetic.parent / "smooth.provenance.json").read_text())
    image = pydicom.dcmread(everything / "ct" / "ct_0012.dcm")
    assert manifest_of(image) == record
    assert main(["verify", str(everything / "ct"), "--input", str(files.source)]) == 0
    image.remove_private_tags()
    assert manifest_of(image) is None
    for path in (everything / "ct" / "ct_0012.dcm", everything / "segmentation.dcm", everything / "report.dcm"):
        item = pydicom.dcmread(path).ContributingEquipmentSequence[-1]
        assert item.Manufacturer == "CTKernelNormalization"
        assert item.ManufacturerModelName == "method linear"
        assert f"voxels SHA-256 {record['output']['voxels_sha256'][:12]}" in item.ContributionDescription


def test_a_volume_that_was_changed_after_its_record_is_not_exported(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = read_volume(files.synthetic)
    write_volume(volume.with_hu(volume.hu + np.float32(1.0), name="smooth", synthetic=True), tmp_path / "smooth.nrrd")
    shutil.copy(files.synthetic.parent / "smooth.provenance.json", tmp_path)
    assert main(["export", str(files.source), str(tmp_path / "smooth.nrrd"), "--out", str(tmp_path / "out")]) == 2
    assert "describes other voxels than the volume has" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_enhanced_scan_is_exported_like_one_of_single_images(sample: SamplePair, tmp_path: Path) -> None:
    def coarse(ds: pydicom.Dataset) -> None:
        measures = item(PixelSpacing=[1.6, 1.6], SliceThickness=10.0)
        ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = measures
        for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
            group.PlanePositionSequence = item(ImagePositionPatient=[-110.0, -95.5, 10.0 * k])

    scan, smooth = tmp_path / "in" / "all.dcm", tmp_path / "smooth.nrrd"
    write_enhanced(scan, sample.sharp.hu.astype(np.int16), change=coarse)
    assert main(["normalize", str(scan.parent), str(smooth), "--method", "linear"]) == 0
    assert main(["export", str(scan.parent), str(smooth), "--out", str(tmp_path / "out"), "--segmentation"]) == 0
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "out" / "ct").iterdir())]
    np.testing.assert_array_equal(read_volume(tmp_path / "out" / "ct").hu, np.rint(read_volume(smooth).hu))
    assert [image.SourceImageSequence[0].ReferencedFrameNumber for image in images] == list(range(1, len(images) + 1))
    seg = hd.seg.segread(str(tmp_path / "out" / "segmentation.dcm"))
    uids = [image.SOPInstanceUID for image in images]
    assert seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True).any()


def flipped(path: Path, place: int) -> None:
    """Change one bit of the byte at ``place`` of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def place_in(path: Path, which: str) -> int:
    """Place in a file of a voxel of an image, of the first voxel of the first segment, or of a digit of the first number."""
    content = path.read_bytes()
    if which == "ct/ct_0012.dcm":
        return len(content) - 1000
    if which == "segmentation.dcm":
        pixels = bytes(pydicom.dcmread(path).PixelData)
        return content.index(pixels) + next(k for k, byte in enumerate(pixels) if byte)
    values = [e for e in pydicom.dcmread(path).iterall() if e.keyword == "NumericValue"]
    return content.index(str(values[0].value).encode()) + 4


@pytest.mark.parametrize(
    ("which", "subject", "words"),
    [
        (None, "", "The 24 exported images contain the voxels computed again, rounded to 1 HU."),
        ("ct/ct_0012.dcm", "images", "1 voxel(s) of the exported images are not those computed again"),
        ("segmentation.dcm", "SR", "number(s) of the report do not follow from segmentation and volume"),
        ("report.dcm", "SR", "1 number(s) of the report do not follow from segmentation and volume"),
    ],
)
def test_one_bit_that_changed_in_an_exported_file_is_found(
    files: Files,
    everything: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    which: str | None,
    subject: str,
    words: str,
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(everything, copy)
    if which is not None:
        flipped(copy / which, place_in(copy / which, which))
    capsys.readouterr()
    code = main(["verify", str(copy), "--input", str(files.source)])
    said = capsys.readouterr().out
    assert words in said
    assert code == (0 if which is None else 1), said
    differing = [line.split()[1].rstrip(":") for line in said.splitlines() if line.startswith("DIFFERS")]
    assert differing == ([] if which is None else [subject]), said
