"""Simulated patients: the truth they carry, the files they become, and how a run continues."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from KernelNormalizationLib.core.errors import InputError
from training.data.kernel_pair import KernelPair
from training.simulate.__main__ import main
from training.simulate.emphysema import EmphysemaPlan, calibrate, dig, draw_holes, index_at
from training.simulate.patient import _averaged, _through_slices, emphysema_index, simulate_patient
from training.simulate.presets import Options, draw_plan
from training.simulate.procedural import ProceduralChest
from training.simulate.real_objects import RealChest, RealVolume
from training.simulate.sampling import Grid
from training.simulate.store import patient_path, read_patient, write_patient
from training.simulate.texture import random_field

pytestmark = pytest.mark.slow

SMALL = ["--slices", "2", "--matrix", "96", "--preset", "diverse"]


@pytest.fixture(scope="module")
def patient() -> KernelPair:
    return simulate_patient(Options("paper", 3, 160, keep_unclipped=True), 3, 1, [])


@pytest.fixture(scope="module")
def block() -> RealVolume:
    """A block of "real" tissue: two lungs in a body."""
    hu = np.full((20, 128, 128), -1000.0, np.float32)
    hu[:, 20:108, 10:118] = 40.0
    lung = np.zeros(hu.shape, np.uint8)
    lung[:, 34:94, 20:58], lung[:, 34:94, 70:108] = 1, 2
    hu[lung > 0] = -850.0
    return RealVolume("archive/series", hu, lung, (2.5, 2.6, 2.6), np.arange(2, 18))


def test_the_same_seed_gives_the_same_patient_and_another_seed_another(patient: KernelPair) -> None:
    options = Options("paper", 3, 160, keep_unclipped=True)
    again = simulate_patient(options, 3, 1, [])
    assert np.array_equal(again.sharp, patient.sharp)
    assert np.array_equal(again.smooth, patient.smooth)
    assert again.meta == patient.meta
    assert not np.array_equal(simulate_patient(options, 4, 1, []).sharp, patient.sharp)


def test_the_file_keeps_the_contract(patient: KernelPair, tmp_path: Path) -> None:
    path = patient_path(tmp_path, 7)
    write_patient(path, patient)
    with np.load(path, allow_pickle=False) as data:
        assert {k: data[k].dtype.str for k in ("sharp", "smooth", "lung", "spacing")} == {
            "sharp": "<i2",
            "smooth": "<i2",
            "lung": "|u1",
            "spacing": "<f4",
        }
        assert data["sharp"].shape == data["smooth"].shape == data["lung"].shape == (3, 160, 160)
        assert data["sharp_unclipped"].dtype == np.float32
        assert data["sharp_noise"].dtype == np.float16
        assert data["spacing"][0] == 1.0
        meta = json.loads(str(data["meta"]))
    assert meta["real_object"] is False
    assert meta["sharp_kernel"]["name"] == "B80f"
    assert {"true_ei", "dose", "truncation", "floor", "padding", "pixel_mm", "object", "seed", "smooth_kernel"} <= meta.keys()
    read = read_patient(path)
    assert read.meta == patient.meta
    assert np.array_equal(read.lung, patient.lung)
    assert not list(tmp_path.rglob(".part-*"))


def test_the_truth_is_that_of_the_stored_smooth_volume(patient: KernelPair) -> None:
    assert patient.meta["true_ei"] == emphysema_index(patient.smooth, patient.lung)
    assert patient.sharp.min() == -1024
    assert patient.sharp_unclipped is not None
    assert patient.sharp_unclipped.min() < -1100
    assert patient.meta["noise_sd_sharp"] > 5 * patient.meta["noise_sd_smooth"]


def test_the_index_asked_for_is_the_index_after_reconstruction() -> None:
    plan = EmphysemaPlan("centrilobular", "even", 12.0)
    grid = Grid((100.0,), 0.7, 160, (0.0, -60.0))
    rng = np.random.default_rng(0)
    slab = ProceduralChest(rng).fine(grid)
    holes = draw_holes(plan, slab.lung, grid, rng)
    warp = np.clip(0.5 * random_field(grid, 1.5, 2.0, rng), -1.0, 1.0)

    def index_of(count: int) -> float:
        return emphysema_index(dig(slab.hu, slab.lung, holes.first(count).paint(grid, warp)), slab.lung)

    count = calibrate(index_of, holes.radii.size, 12.0, steps=12)
    assert index_of(count) == pytest.approx(12.0, abs=1.0)
    assert calibrate(index_of, holes.radii.size, index_of(0)) == 0
    assert index_of(holes.radii.size) > 40.0


def test_hole_sizes_follow_a_power_law() -> None:
    lung = np.ones((1, 256, 256), np.uint8)
    holes = draw_holes(EmphysemaPlan("centrilobular", "even", 5.0), lung, Grid((0.0,), 0.7, 256), np.random.default_rng(1))
    radii = np.sort(holes.radii)
    inner = (radii > 1.0) & (radii < 3.5)
    survival = 1.0 - np.arange(radii.size) / radii.size
    slope, _ = np.polyfit(np.log(radii[inner]), np.log(survival[inner]), 1)
    # Twice the area exponent 0.9 to 1.7, steeper near the largest radius.
    assert -4.6 < slope < -1.6


def test_digging_spares_vessels_and_what_is_outside_the_lung() -> None:
    hu = np.array([[[-850.0, 40.0, -850.0]]], np.float32)
    lung = np.array([[[1, 1, 0]]], np.uint8)
    dug = dig(hu, lung, np.ones_like(hu))
    assert dug.tolist() == [[[-1000.0, 40.0, -850.0]]]
    assert hu[0, 0, 0] == -850.0


def test_dominance_moves_disease_up_or_down() -> None:
    upper = EmphysemaPlan("centrilobular", "upper", 10.0)
    assert index_at(1.0, upper) > 2.5 * index_at(0.0, upper)
    assert index_at(0.2, EmphysemaPlan("panlobular", "lower", 10.0)) > index_at(0.8, EmphysemaPlan("panlobular", "lower", 10.0))
    assert index_at(1.0, EmphysemaPlan("panlobular", "upper", 38.0)) <= 40.0


def test_a_chest_has_lungs_on_their_sides_and_bone_and_air() -> None:
    chest = ProceduralChest(np.random.default_rng(5))
    grid = Grid((0.5 * chest.shape.height,), 2.4, 160)
    slab = chest.fine(grid)
    right, left = (np.argwhere(slab.lung[0] == side)[:, 1].mean() for side in (1, 2))
    assert right < 80 < left
    assert 0.08 < (slab.lung > 0).mean() < 0.6
    assert np.median(slab.hu[slab.lung > 0]) == pytest.approx(chest.shape.lung_hu, abs=40.0)
    assert slab.hu.max() > 300.0
    assert slab.hu[0, 0, 0] == -1000.0


def test_a_real_volume_is_an_object_with_its_sides_kept(block: RealVolume) -> None:
    for seed in range(4):
        chest = RealChest(block, np.random.default_rng(seed))
        slab = chest.fine(Grid((20.0,), 3.0, 128))
        right, left = (np.argwhere(slab.lung[0] == side)[:, 1].mean() for side in (1, 2))
        assert right < left
        assert slab.hu[slab.lung > 0].mean() == pytest.approx(-850.0, abs=15.0)
    patient = simulate_patient(Options("diverse", 2, 96, real_share=1.0), 1, 0, [block])
    assert patient.meta["real_object"] is True
    assert patient.meta["object"] == "archive/series"


def test_real_and_procedural_patients_alternate_in_the_asked_share() -> None:
    options = Options("diverse", 4, real_share=0.5)
    kinds = [draw_plan(options, n, True, np.random.default_rng(n)).real_object for n in range(10)]
    assert sum(kinds) == 5
    assert not any(draw_plan(options, n, False, np.random.default_rng(n)).real_object for n in range(10))


def test_the_diverse_preset_has_every_truncation_and_thick_slices() -> None:
    plans = [draw_plan(Options("diverse"), n, False, np.random.default_rng(n)) for n in range(200)]
    drawn = [p.truncation for p in plans]
    assert 0.08 < np.mean([t is None for t in drawn]) < 0.22
    known = [t for t in drawn if t is not None]
    assert {t.floor_hu for t in known} == {-1024.0, -1000.0}
    assert {t.images for t in known} == set(range(1, 9))
    assert 0.4 < np.mean([t.images <= 2 for t in known]) < 0.6
    assert all(0.0 <= t.correlation <= 0.6 for t in known)
    assert {p.output_mm for p in plans} == {1.0, 3.0, 5.0, 8.0}
    assert any(p.padding == -2048 for p in plans)


def test_the_paper_preset_is_one_scanner() -> None:
    plans = [draw_plan(Options("paper"), n, False, np.random.default_rng(n)) for n in range(200)]
    assert {(p.kernel.name, p.kernel.lift, p.output_mm, p.padding) for p in plans} == {("B80f", 1.0, 1.0, None)}
    truncations = [p.truncation for p in plans]
    assert {(t.floor_hu, t.images) for t in truncations if t is not None} == {(-1024.0, n) for n in (1, 2, 3, 4)}
    assert {t.correlation for t in truncations if t is not None and t.images > 1} == {0.24, 0.36}
    assert None not in truncations
    severe = np.mean([p.emphysema.target_index > 5.0 for p in plans])
    assert 0.2 < severe < 0.5


def test_a_stopped_run_continues_and_refuses_other_parameters(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [*SMALL, "--seed", "5", "--out", str(folder)]
    assert main([*command, "--patients", "2"]) == 0
    first = patient_path(folder, 0)
    before, stamp = first.read_bytes(), first.stat().st_mtime_ns
    patient_path(folder, 1).unlink()
    assert main([*command, "--patients", "3"]) == 0
    assert first.read_bytes() == before
    assert first.stat().st_mtime_ns == stamp
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [p["file"] for p in manifest["patients"]] == ["sim0000.npz", "sim0001.npz", "sim0002.npz"]
    assert manifest["patients"][0]["sha256"] == hashlib.sha256(before).hexdigest()
    assert manifest["patients"][0]["meta"]["seed"] == 5
    assert main([*SMALL, "--seed", "6", "--out", str(folder), "--patients", "3"]) == 2


def test_a_patient_is_the_same_whatever_was_made_before_it(tmp_path: Path) -> None:
    options = Options("diverse", 2, 96)
    main([*SMALL, "--seed", "9", "--patients", "2", "--out", str(tmp_path)])
    alone = simulate_patient(options, 9, 1, [])
    assert np.array_equal(read_patient(patient_path(tmp_path, 1)).sharp, alone.sharp)
    assert not np.array_equal(read_patient(patient_path(tmp_path, 0)).sharp, alone.sharp)


@pytest.mark.parametrize("wrong", [["--patients", "0"], ["--matrix", "20"], ["--objects", "/no/such/folder"]])
def test_unusable_arguments_are_refused(wrong: list[str], tmp_path: Path) -> None:
    assert main([*SMALL, "--out", str(tmp_path), *wrong]) == 2


def test_a_damaged_patient_file_is_named(tmp_path: Path) -> None:
    path = patient_path(tmp_path, 0)
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match=r"sim0000\.npz is not a simulated patient"):
        read_patient(path)


def test_thin_slices_are_resampled_to_one_millimetre() -> None:
    options = Options("paper", 4, 96)
    seeds = (n for n in range(50) if draw_plan(options, 0, False, np.random.default_rng([n, 0])).native_mm == 0.7)
    thin = simulate_patient(options, next(seeds), 0, [])
    assert thin.sharp.shape[0] == 4
    assert thin.spacing[0] == 1.0
    assert thin.meta["native_slice_mm"] == 0.7
    # Slices between two native ones average their noise; the first one is a native slice.
    noise = [np.diff(s.astype(float), axis=1).std() for s in thin.sharp]
    assert min(noise[1:]) < 0.9 * noise[0]


def test_a_thick_slice_averages_what_lies_in_it() -> None:
    """Vessels crossing a thick slice lose contrast; its noise falls with the quanta of its thickness."""
    seeds = [n for n in range(300) if draw_plan(Options("diverse"), 0, False, np.random.default_rng([n, 0])).native_mm == 8.0]
    thick = simulate_patient(Options("diverse", 2, 128), seeds[0], 0, [])
    assert thick.spacing[0] == 8.0
    assert thick.meta["dose"]["slice_factor"] == 8.0
    grid = Grid((100.0, 108.0), 0.7, 64)
    planes = _through_slices(grid, 8.0, 3)
    assert planes.z == pytest.approx((97.333, 100.0, 102.667, 105.333, 108.0, 110.667), abs=1e-3)
    stack = np.arange(6, dtype=np.float32)[:, None, None] * np.ones((6, 2, 2), np.float32)
    assert _averaged(stack, 3)[:, 0, 0].tolist() == [1.0, 4.0]


def test_the_outside_preset_is_the_papers_with_more_images_and_other_kernels() -> None:
    plans = [draw_plan(Options("outside"), n, False, np.random.default_rng(n)) for n in range(100)]
    truncations = [p.truncation for p in plans if p.truncation is not None]
    assert len(truncations) == 100
    assert {t.images for t in truncations} == {5, 6, 8, 12}
    assert max(t.correlation for t in truncations) > 0.6
    assert {p.kernel.name for p in plans} == {"B70f-outside", "B80f-outside"}
    assert {p.kernel.lift for p in plans} == {0.0, 0.5, 1.3}


def test_the_noise_stored_is_the_noise_in_the_untruncated_image() -> None:
    """Less noise, and only the object is left: what the smooth image shows of it outside the body, air of one density."""
    noisy = simulate_patient(Options("paper", 1, 96, keep_unclipped=True), 3, 1, [])
    assert noisy.sharp_unclipped is not None
    assert noisy.sharp_noise is not None
    lung = noisy.lung > 0
    before = noisy.sharp_unclipped[lung]
    after = before - noisy.sharp_noise.astype(np.float32)[lung]
    assert float(np.median(np.abs(after - np.median(after)))) < 0.5 * float(np.median(np.abs(before - np.median(before))))


def test_truncation_raises_what_lies_far_below_the_floor_and_leaves_dense_tissue() -> None:
    patient = simulate_patient(Options("paper", 2, 128, keep_unclipped=True), 5, 4, [])
    assert patient.sharp_unclipped is not None
    raised = patient.sharp - patient.sharp_unclipped
    dense = patient.sharp_unclipped > 0.0
    # rounding, once of the native slices and once of those interpolated between them
    assert np.abs(raised[dense]).max() <= 1.0
    assert raised[patient.sharp_unclipped < -1100.0].min() > 70.0
