"""The kernel transfer measured on a centre's own pairs: found, kept with the model, used for its kernel alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import create_normalizer
from KernelNormalizationLib.core.kernels.calibrated_transfer import OwnTransfer
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.kernels.transfer import find_transfer
from KernelNormalizationLib.core.network.model_folder import load_model
from KernelNormalizationLib.core.progress import ProgressTracker
from training import crossval
from training.data.calibrate_transfer import measure_transfer
from training.data.kernel_pair import KernelPair
from training.data.network_base import base_image
from training.data.unpacked import open_patient
from training.evaluation.cases import case_of
from training.simulate.kernel_family import nominal_kernel
from training.simulate.store import patient_path, read_patient, write_patient

PIXEL = 0.7


def lifted(frequency: np.ndarray) -> np.ndarray:
    """A scanner's own transfer: 5 % above 1 near 1 lp/cm, half at 2.5 lp/cm."""
    return np.asarray((1.0 + 0.12 * frequency**2 * np.exp(-(frequency**2))) / (1.0 + (frequency / 2.5) ** 4))


def write_pairs(folder: Path, count: int = 2, kernel: str = "B80f", *, tissue: bool = True) -> list[Path]:
    """Lung beside noisy tissue with structure, 256 x 320 pixels; smooth is sharp filtered by :func:`lifted`."""
    paths = [patient_path(folder, n) for n in range(count)]
    for seed, path in enumerate(paths):
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((3, 256, 320)).astype(np.float32)
        coarse = apply_gain(noise, (PIXEL, PIXEL), lambda f: np.exp(-((f / 0.7) ** 2)))
        sharp = 60.0 * noise + np.where(np.arange(320) < 96, -990.0, 40.0 + 400.0 * coarse if tissue else -990.0)
        smooth = apply_gain(sharp.astype(np.float32), (PIXEL, PIXEL), lifted)
        stored = [np.rint(np.maximum(image, -1024.0)).astype(np.int16) for image in (sharp, smooth)]
        meta = {
            "object": "tissue",
            "sharp_kernel": {**nominal_kernel(80).as_meta(), "name": kernel},
            "smooth_kernel": {"name": "B20f"},
            "floor": {"kind": "truncated", "value": -1024.0},
            "padding": None,
            "dose": None,
            "pixel_mm": PIXEL,
            "slice_mm": 1.0,
            "real_object": False,
            "true_ei": 50.0,
        }
        lung = np.zeros(sharp.shape, np.uint8)
        lung[..., :80] = 1
        write_patient(path, KernelPair(stored[0], stored[1], lung, (1.0, PIXEL, PIXEL), meta))
    return paths


@pytest.mark.slow
def test_a_known_transfer_is_found(tmp_path: Path) -> None:
    measured = measure_transfer(write_pairs(tmp_path))
    assert measured.kernel == "B80f"
    frequency = np.arange(0.3, 6.0, 0.1)
    assert measured.gain(np.zeros(1))[0] == 1.0
    # A ring of 0.1 lp/cm averages over as much of the slope.
    np.testing.assert_allclose(measured.gain(frequency), lifted(frequency), atol=0.015)


def test_pairs_of_several_kernels_are_refused_by_name(tmp_path: Path) -> None:
    files = write_pairs(tmp_path / "one", 1) + write_pairs(tmp_path / "other", 1, "B60f")
    with pytest.raises(InputError, match=r"several kernels \(B60f, B80f\)"):
        measure_transfer(files)


def test_pairs_without_tissue_off_truncation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"show 0 patches .* without --own-transfer"):
        measure_transfer(write_pairs(tmp_path, tissue=False))


@pytest.mark.slow
def test_training_starts_from_the_measured_transfer_of_its_kernel_alone(tmp_path: Path) -> None:
    own = OwnTransfer("B80f", 0.1, tuple(lifted(np.arange(0.0, 8.0, 0.1)).tolist()))
    sharper, other = write_pairs(tmp_path / "b80", 1)[0], write_pairs(tmp_path / "b60", 1, "B60f")[0]
    opened = open_patient(sharper, transfer=own)
    volume = case_of("pair", read_patient(sharper)).sharp
    expected, _ = base_image(volume.filled()[: len(opened.base)], volume.geometry.spacing[1], own.gain, opened.floor)
    assert np.array_equal(opened.base, expected)
    assert not np.array_equal(open_patient(sharper).base, opened.base)
    assert np.array_equal(open_patient(other, transfer=own).base, open_patient(other).base)


@pytest.mark.slow
def test_a_cross_validated_model_carries_its_folds_transfer_into_the_product(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    files = write_pairs(pairs, 3)
    out = tmp_path / "cv"
    command = ["--smoke", "--pairs", str(pairs), "--folds", "3", "--only", "0", "--own-transfer", "--out", str(out)]
    assert crossval.main(command) == 0
    trained = json.loads((out / "fold0" / "split.json").read_text())["train"]
    model = load_model(out / "fold0" / "model")
    assert model.transfer == measure_transfer([pairs / "patients" / f"{name}.npz" for name in trained])
    scan = case_of("pair", read_patient(files[0])).sharp
    made = create_normalizer("unet", model=str(model.folder)).normalize(scan, ProgressTracker())
    assert made.record["source_kernel_from"] == "model"
    assert crossval.main([c for c in command if c != "--own-transfer"]) == 2, "another recipe in that folder"


@pytest.mark.parametrize(("tag", "origin"), [("B80f", "model"), (" b80F ", "model"), ("B70f", "tag"), ("B20f", "tag")])
def test_the_models_transfer_is_for_its_kernel_alone(tag: str, origin: str, tmp_path: Path) -> None:
    own = OwnTransfer("B80f", 0.1, tuple(lifted(np.arange(0.0, 8.0, 0.1)).tolist()))
    scan = case_of("pair", read_patient(write_pairs(tmp_path, 1)[0])).sharp
    found = find_transfer(replace(scan, acquisition=replace(scan.acquisition, kernel=tag)), own=own)
    assert found.origin == origin
    assert (found.gain == own.gain) == (origin == "model")


@pytest.mark.parametrize(
    "spoil", [lambda e: e.pop("gains"), lambda e: e.update(gains=[1.0]), lambda e: e.update(gains=["x", 1.0])]
)
def test_a_damaged_transfer_is_no_transfer(spoil: Callable[[dict[str, object]], object]) -> None:
    entry: dict[str, object] = {"kernel": "B80f", "step_lp_per_cm": 0.1, "gains": [1.0, 0.9]}
    assert OwnTransfer.from_card(entry) == OwnTransfer("B80f", 0.1, (1.0, 0.9))
    spoil(entry)
    with pytest.raises((InputError, KeyError, ValueError)):
        OwnTransfer.from_card(entry)
    assert OwnTransfer.from_card(None) is None
