"""Pairs are found, checked and stored; everything else is named with its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.dicomseries import Change, write_series
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from scipy import ndimage

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume, Geometry
from training import train
from training.pairs import Pair, Skipped, check_pair, estimate_shift, find_pairs, main, resample_slices
from training.running.checkpoint import load_trained
from training.simulate.store import read_patient

PHILIPS = Path(__file__).parents[3] / "shared" / "data" / "lung-dx-a0001-philips"


def chest(noise: float, seed: int = 0) -> NDArray[np.int16]:
    """A small chest: body, two lungs, a spine, with noise of this SD in HU."""
    y, x = np.mgrid[-48:48, -64:64]
    hu = np.full((12, 96, 128), -1000.0)
    hu[:, np.hypot(y / 44.0, x / 60.0) < 1] = 40.0
    for side in (-1, 1):
        hu[:, np.hypot((y + 3) / 30.0, (x - side * 27) / 20.0) < 1] = -850.0
    hu[:, np.hypot(y - 30, x) < 8] = 400.0
    hu += noise * np.random.default_rng(seed).standard_normal(hu.shape)
    return np.clip(hu, -1024, 3071).astype(np.int16)


def same(**values: str) -> Change:
    """A change that gives every file these header values."""

    def change(_: int, ds: FileDataset) -> None:
        ds.StudyInstanceUID, ds.FrameOfReferenceUID, ds.AcquisitionTime = "1.2.3", "1.2.3.4", "120000"
        for name, value in values.items():
            setattr(ds, name, value)

    return change


def archive_with(folder: Path, *series: tuple[str, NDArray[np.int16], dict[str, Any], dict[str, str]]) -> Path:
    for number, (kernel, hu, options, header) in enumerate(series):
        write_series(
            folder / f"s{number}", hu, kernel=kernel, number=number, pixel=(2.4, 2.4), change=same(**header), **options
        )
    return folder


def test_a_pair_is_found_and_the_smooth_one_is_the_partner(tmp_path: Path) -> None:
    archive = archive_with(tmp_path, ("B70f", chest(60), {}, {}), ("B30f", chest(8, 1), {}, {}), ("B50f", chest(25, 2), {}, {}))
    pairs, skipped = find_pairs(archive)
    assert sorted((p.sharp.acquisition.kernel, p.smooth.acquisition.kernel) for p in pairs) == [
        ("B50f", "B30f"),
        ("B70f", "B30f"),
    ]
    assert skipped == []
    assert max(abs(s) for p in pairs for s in p.shift_pixels) < 0.1


@pytest.mark.parametrize(
    ("options", "header", "reason"),
    [
        ({"start": (-110.0, -95.5, -309.0)}, {}, "slice positions differ"),
        ({"start": (-107.0, -95.5, -310.25)}, {}, "geometry differs"),
        ({}, {"AcquisitionTime": "130000"}, "no other reconstruction"),
        ({}, {"FrameOfReferenceUID": "9.9"}, "no other reconstruction"),
        ({}, {"Modality": "MR"}, "modality MR"),
        ({}, {"ConvolutionKernel": "B70f"}, "both have kernel B70f"),
        ({}, {"ImageType": "LOCALIZER"}, "a scout"),
    ],
)
def test_what_is_no_pair_is_named(tmp_path: Path, options: dict[str, Any], header: dict[str, str], reason: str) -> None:
    archive = archive_with(tmp_path, ("B70f", chest(60), {}, {}), ("B30f", chest(8, 1), options, header))
    pairs, skipped = find_pairs(archive)
    assert pairs == []
    assert any(reason in s.reason for s in skipped)


def test_fewer_slices_or_a_shifted_image_is_no_pair(tmp_path: Path) -> None:
    _, fewer = find_pairs(archive_with(tmp_path / "a", ("B70f", chest(60), {}, {}), ("B30f", chest(8)[:10], {}, {})))
    assert "12 and 10 slices" in fewer[0].reason
    moved = np.roll(chest(8, 1), 1, axis=2)
    _, shifted = find_pairs(archive_with(tmp_path / "b", ("B70f", chest(60), {}, {}), ("B30f", moved, {}, {})))
    assert "shifted by" in shifted[0].reason


def test_an_unreadable_partner_is_named_with_its_fault(tmp_path: Path) -> None:
    archive = archive_with(tmp_path, ("B70f", chest(60), {}, {}), ("B30f", chest(8), {}, {}))
    (tmp_path / "s1" / sorted(p.name for p in (tmp_path / "s1").iterdir())[4]).unlink()
    pairs, skipped = find_pairs(archive)
    assert pairs == []
    assert {"partner" in s.reason for s in skipped} == {True, False}


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.0), (-0.3, 1.4), (0.0, -3.0)])
def test_the_shift_estimate_is_right_to_a_tenth_of_a_pixel(shift: tuple[float, float]) -> None:
    fixed = ndimage.gaussian_filter(chest(0).astype(np.float32), (0, 1.5, 1.5))
    moving = ndimage.shift(fixed, (0, *shift), order=3, mode="nearest")
    assert estimate_shift(moving, fixed) == pytest.approx(shift, abs=0.1)


def test_other_anatomy_is_no_pair() -> None:
    volume = CTVolume(chest(5).astype(np.float32), Geometry((1.0, 2.4, 2.4)))
    other = replace(volume, hu=volume.hu[:, ::-1, ::-1] * 0.2 - 800.0)
    found = check_pair("x", volume, other)
    assert isinstance(found, Skipped)
    assert "the images differ" in found.reason
    assert isinstance(check_pair("x", volume, volume), Pair)


def test_resampling_gives_one_millimetre_slices_and_keeps_padding() -> None:
    ramp = np.linspace(-900, 200, 12, dtype=np.float32)[:, None, None] * np.ones((12, 6, 6), np.float32)
    ramp[:, 0, 0] = -2048.0
    volume = CTVolume(ramp, Geometry((0.7, 0.8, 0.8)), padding_value=-2048.0)
    thin = resample_slices(volume, 1.0)
    assert thin.geometry.spacing == (1.0, 0.8, 0.8)
    assert thin.shape[0] == 8
    assert np.diff(thin.hu[:, 3, 3]) == pytest.approx(100.0 / 0.7, rel=1e-3)
    assert (thin.hu[:, 0, 0] == -2048.0).all()
    with pytest.raises(InputError, match="must be positive"):
        resample_slices(volume, 0.0)


def test_the_command_lists_without_out_and_refuses_bad_folders(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "archive", ("B70f", chest(60), {}, {}), ("B30f", chest(8, 1), {}, {}))
    assert main([str(archive)]) == 0
    assert main([str(archive / "s0")]) == 1
    assert main([str(tmp_path / "nowhere")]) == 2
    assert main([str(archive), "--resample", "-1"]) == 2


@pytest.mark.slow
def test_pairs_found_in_an_archive_can_be_trained_on_with_the_same_command(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "archive", ("B70f", chest(60), {}, {}), ("B30f", chest(8, 1), {}, {}))
    assert main([str(archive), "--out", str(tmp_path / "own")]) == 0
    assert len(list((tmp_path / "own" / "patients").iterdir())) == 1
    assert train.main(["--smoke", "--pairs", str(tmp_path / "own"), "--out", str(tmp_path / "run")]) == 0
    assert load_trained(tmp_path / "run").config.residual


@pytest.mark.slow
@pytest.mark.skipif(not PHILIPS.exists(), reason="development data absent")
def test_the_real_pair_is_found_stored_and_its_figures_are_the_known_ones(tmp_path: Path) -> None:
    assert main([str(PHILIPS), "--out", str(tmp_path)]) == 0
    patient = read_patient(tmp_path / "patients" / "pair0000.npz")
    assert patient.sharp.shape == (64, 512, 512)
    assert (patient.meta["sharp_kernel"]["tag"], patient.meta["smooth_kernel"]["name"]) == ("L", "B")
    assert max(abs(s) for s in patient.meta["shift_pixels"]) < 0.05
    assert patient.meta["raw_ei"] == pytest.approx(14.3, abs=1.0)
    assert patient.meta["true_ei"] == pytest.approx(0.2, abs=0.2)
    assert patient.meta["floor"]["kind"] == "truncated"
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert len(manifest["patients"]) == 1
