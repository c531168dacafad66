"""What the command line says and returns where numbers would mislead."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ctkernel.cli import main
from KernelNormalizationLib.core.io.writing import image_of, write_volume
from KernelNormalizationLib.core.simulated_chest import SamplePair

SMALL_SHAPE, SMALL_SPACING = (24, 208, 208), (10.0, 1.6, 1.6)
SHARP = "noise counts as emphysema, so EI is too high"


def write_mask(sample: SamplePair, labels: np.ndarray, path: Path) -> Path:
    import SimpleITK as sitk

    sitk.WriteImage(image_of(labels.astype(np.uint8), sample.sharp.geometry), str(path))
    return path


@pytest.mark.slow
def test_a_failed_mask_gives_no_numbers_and_no_success(
    scan: Path, sample: SamplePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    little = sample.lungs & (np.arange(SMALL_SHAPE[0]) == 12)[:, None, None] & (np.arange(SMALL_SHAPE[2]) < 70)
    mask = write_mask(sample, little, tmp_path / "little.nrrd")
    out = tmp_path / "out"
    assert main(["quantify", str(scan), "--mask", str(mask), "--out", str(out), "--report"]) == 2
    captured = capsys.readouterr()
    assert "EI" not in captured.out
    assert "The lung mask failed, so nothing was measured: Only" in captured.err
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.slow
def test_the_printed_table_of_a_sharp_scan_carries_the_kernels_warning(
    scan: Path, sample: SamplePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = tmp_path / "unnamed.nrrd"
    write_volume(replace(sample.sharp, acquisition=replace(sample.sharp.acquisition, kernel=None)), unnamed)
    smooth = tmp_path / "smooth.nrrd"
    write_volume(sample.smooth, smooth)
    mask = str(write_mask(sample, sample.lungs, tmp_path / "mask.nrrd"))
    for path, warned in ((scan, True), (unnamed, True), (smooth, False)):
        assert main(["quantify", str(path), "--mask", mask, "--out", str(tmp_path / "out")]) == 0
        assert (SHARP in capsys.readouterr().out) == warned


@pytest.mark.slow
def test_the_printed_table_of_a_scan_with_gaps_says_what_was_not_scanned(
    sample: SamplePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """High-resolution CT is 1 mm every 10 mm; its volumes are interpolated, which stood in the report alone."""
    thin = replace(sample.smooth, acquisition=replace(sample.smooth.acquisition, slice_thickness_mm=1.0))
    mask = str(write_mask(sample, sample.lungs, tmp_path / "mask.nrrd"))
    distance = sample.smooth.geometry.spacing[0]
    for volume, gap in ((thin, True), (sample.smooth, False)):
        write_volume(volume, tmp_path / "scan.nrrd")
        assert main(["quantify", str(tmp_path / "scan.nrrd"), "--mask", mask, "--out", str(tmp_path / "out")]) == 0
        told = f"{distance - 1.0:.2g} mm of every {distance:g} mm were not scanned; volumes are interpolated."
        assert (told in capsys.readouterr().out) == gap


@pytest.mark.slow
def test_a_scan_that_is_left_as_it_is_is_not_announced_as_synthetic(
    sample: SamplePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smooth, out = tmp_path / "smooth.nrrd", tmp_path / "out.nrrd"
    write_volume(sample.smooth, smooth)
    assert main(["normalize", str(smooth), str(out), "--method", "linear"]) == 0
    printed = capsys.readouterr().out
    assert "Nothing was done" in printed
    assert "synthetic B20f" not in printed
    record = json.loads((tmp_path / "out.provenance.json").read_text())
    assert (record["method"], record["synthetic"]) == ("none", False)


@pytest.mark.slow
def test_labels_of_a_mask_can_be_told(
    scan: Path, sample: SamplePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = np.arange(SMALL_SHAPE[2]) >= SMALL_SHAPE[2] // 2
    mask = str(write_mask(sample, sample.lungs * np.where(left, 40, 30), tmp_path / "mask.nrrd"))
    arguments = ["quantify", str(scan), "--mask", mask, "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "--mask-labels" in capsys.readouterr().err
    assert main([*arguments, "--mask-labels", "right=30,left=40"]) == 0
    assert "30 right lung, 40 left lung" in capsys.readouterr().out
    assert main([*arguments, "--mask-labels", "right=40,left=30"]) == 2
    assert "are exchanged in the scan" in capsys.readouterr().err
    assert main([*arguments[:2], *arguments[4:], "--mask-labels", "cip"]) == 2
