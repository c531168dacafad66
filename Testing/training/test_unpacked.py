"""Memory-mapped patients: on disk, up to date, and with the base the product would compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.kernels.transfer import b20f_gain, find_transfer
from training.data.network_base import base_image
from training.data.patches import draw_batch
from training.data.sources import SourceConfig, load_pairs
from training.data.unpacked import UNPACKED, open_patient
from training.evaluation.cases import case_of
from training.running.smoke import make_tiny_pairs
from training.simulate.store import read_patient, write_patient

pytestmark = pytest.mark.slow


@pytest.fixture
def patient_file(tmp_path: Path) -> Path:
    return make_tiny_pairs(tmp_path, 1)[0]


def test_patches_are_read_from_disk_and_training_holds_no_volume(patient_file: Path) -> None:
    opened = open_patient(patient_file)
    for array in (opened.sharp, opened.smooth, opened.base, opened.lost, opened.lung, opened.centres):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
    batch = draw_batch(load_pairs(SourceConfig((str(patient_file),)))[0], 1, 0, 0, 64, 2)
    assert batch.sharp.shape == (2, 1, 64, 64)
    stored = read_patient(patient_file)
    assert np.array_equal(opened.sharp, stored.sharp)
    assert np.array_equal(opened.smooth, stored.smooth)


@pytest.mark.parametrize("tag", ["B80f", "L"])
def test_the_base_is_what_the_product_would_start_from(tag: str, patient_file: Path) -> None:
    stored = read_patient(patient_file)
    kernel = {**stored.meta["sharp_kernel"], "tag": tag, "estimated": tag == "L"}
    own = replace(stored, meta={**stored.meta, "sharp_kernel": kernel, "manufacturer": "SIEMENS"})
    write_patient(patient_file, own)
    sharp = case_of("pair", own).sharp
    opened = open_patient(patient_file)
    count = len(own.sharp)
    base, lost = base_image(sharp.filled()[:count], sharp.geometry.spacing[1], find_transfer(sharp).gain, opened.floor)
    assert np.array_equal(opened.base, base)
    assert lost.min() < -20.0
    np.testing.assert_allclose(opened.lost, lost, rtol=1e-3, atol=1e-3)


def test_a_partner_on_a_sharper_kernel_is_brought_to_b20f(patient_file: Path) -> None:
    stored = read_patient(patient_file)
    write_patient(patient_file, replace(stored, meta={**stored.meta, "smooth_kernel": {"name": "B30f"}}))
    moved = open_patient(patient_file).smooth
    pixel = stored.spacing[1]
    expected = apply_gain(stored.smooth.astype(np.float32), (pixel, pixel), b20f_gain(30))
    assert np.abs(moved - np.maximum(expected, stored.smooth.min())).max() <= 0.5
    write_patient(patient_file, replace(stored, meta={**stored.meta, "smooth_kernel": {"name": "B"}}))
    assert np.array_equal(open_patient(patient_file).smooth, stored.smooth)


def test_a_file_written_again_is_unpacked_again_and_the_old_arrays_go(patient_file: Path) -> None:
    first = open_patient(patient_file)
    stored = read_patient(patient_file)
    write_patient(patient_file, replace(stored, sharp=(stored.sharp + 7).astype(np.int16)))
    again = open_patient(patient_file)
    assert np.array_equal(again.sharp, first.sharp + 7)
    assert len(list((patient_file.parents[1] / UNPACKED).iterdir())) == 1


def test_padding_is_air_to_the_network(patient_file: Path) -> None:
    stored = read_patient(patient_file)
    for image in (stored.sharp, stored.smooth):
        image[:, :3] = -2048
    write_patient(patient_file, replace(stored, meta={**stored.meta, "padding": -2048}))
    opened = open_patient(patient_file)
    assert (opened.sharp[:, :3] == -1000).all()
    assert (opened.smooth[:, :3] == -1000).all()


def test_a_damaged_or_missing_patient_is_named(patient_file: Path) -> None:
    patient_file.write_bytes(b"not a patient")
    with pytest.raises(InputError, match=r"sim0000\.npz is not a simulated patient"):
        open_patient(patient_file)
    with pytest.raises(InputError, match=r"sim0009\.npz holds no simulated patient or pair"):
        load_pairs(SourceConfig((str(patient_file.with_name("sim0009.npz")),)))
