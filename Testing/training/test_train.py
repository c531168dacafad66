"""Training: exact pairs from one scan, exact resume, a network that leaves untruncated tissue alone, export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.lung_spectrum import ANCHOR
from KernelNormalizationLib.core.kernels.radial_filter import Gain, apply_gain
from KernelNormalizationLib.core.network.backends import conformance_error, create_cpu_backend
from KernelNormalizationLib.core.network.model_folder import load_model
from KernelNormalizationLib.core.network.unet import UNet, UNetConfig
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.truncation.model import Truncation
from training.band_energies import reference_energies
from training.data.kernel_pair import KernelPair
from training.data.patches import MARGIN, Batch, draw_batch
from training.data.self_pairs import SelfPairs
from training.data.sources import SourceConfig, build_source
from training.export import export
from training.running.checkpoint import CHECKPOINT
from training.running.config import TrainConfig
from training.simulate.store import patient_path, write_patient
from training.train import Rhythm, loss_of, train

pytestmark = pytest.mark.slow

TINY = TrainConfig(features=(4, 4, 8, 8), steps=6, batch=2, patch=64)
CLIPPED = Truncation()


@pytest.fixture(scope="module")
def scan_pairs() -> SelfPairs:
    sharp = make_sample(2, (10, 208, 208), (20.0, 1.6, 1.6)).sharp
    return SelfPairs.from_volume(sharp, 70.0, (CLIPPED,))


def test_without_a_floor_the_linear_transfer_of_a_self_pair_is_its_truth(scan_pairs: SelfPairs) -> None:
    source = replace(scan_pairs, truncations=(None,))
    for seed in range(4):
        patch = source.sample(np.random.default_rng(seed), 64)
        above = (patch.target > -1024.0) & (patch.weight > 0)
        # What is left is the rounding of the sharp image to integers.
        assert np.abs(patch.base - patch.target)[above].max() < 1.0
        assert (patch.lost == 0.0).all()


def plain_transfer(hu: np.ndarray, pixel_mm: float, gain: Gain, *_: object) -> tuple[np.ndarray, np.ndarray]:
    """What ``known_base_image`` would give if nothing were restored."""
    return apply_gain(hu, (pixel_mm, pixel_mm), gain), np.zeros_like(hu)


def test_a_floor_makes_the_linear_transfer_of_a_self_pair_too_dense(
    scan_pairs: SelfPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.self_pairs.known_base_image", plain_transfer)
    differences = []
    for seed in range(8):
        patch = scan_pairs.sample(np.random.default_rng(seed), 64)
        assert patch.sharp.min() >= -1024.0
        differences.append(float(((patch.base - patch.target) * patch.weight).mean()))
    assert np.mean(differences) > 0.1


def test_a_scan_smaller_than_a_patch_with_its_margin_is_refused_before_training(scan_pairs: SelfPairs) -> None:
    with pytest.raises(InputError, match="208"):
        scan_pairs.sample(np.random.default_rng(0), 208 - 2 * MARGIN + 8)


def test_a_step_always_draws_the_same_batch_and_ranks_draw_different_ones(scan_pairs: SelfPairs) -> None:
    first, again = (draw_batch(scan_pairs, 1, 5, 0, 64, 2) for _ in range(2))
    other = draw_batch(scan_pairs, 1, 5, 1, 64, 2)
    assert torch.equal(first.sharp, again.sharp)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.sharp, other.sharp)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    scan_pairs: SelfPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(TINY, tmp_path / "whole", scan_pairs, rhythm=Rhythm(checkpoint=3))

    class KilledError(Exception):
        pass

    drawn = 0

    class Dying:
        def sample(self, rng: np.random.Generator, size: int) -> object:
            nonlocal drawn
            drawn += 1
            if drawn > 4 * TINY.batch:
                raise KilledError
            return scan_pairs.sample(rng, size)

    with pytest.raises(KilledError):
        train(TINY, tmp_path / "killed", Dying(), rhythm=Rhythm(checkpoint=3))  # type: ignore[arg-type]
    resumed = train(TINY, tmp_path / "killed", scan_pairs, rhythm=Rhythm(checkpoint=3))
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name


def test_a_folder_of_another_configuration_is_not_resumed(scan_pairs: SelfPairs, tmp_path: Path) -> None:
    train(replace(TINY, steps=1), tmp_path, scan_pairs)
    with pytest.raises(InputError, match="another configuration"):
        train(replace(TINY, steps=2), tmp_path, scan_pairs)


def test_training_lowers_the_error_of_the_linear_transfer_and_of_the_base(
    scan_pairs: SelfPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TINY, features=(8, 8, 16, 16), steps=150, batch=4, average=0.9, learning_rate=3e-3)
    network = train(config, tmp_path, scan_pairs).average
    unseen = draw_batch(scan_pairs, 99, 0, 0, 64, 24)
    near = unseen.sharp <= -1023.5
    with torch.no_grad():
        corrected = (network(unseen.sharp, unseen.base, unseen.lost) - unseen.target).abs() * unseen.weight
    base = (unseen.base - unseen.target).abs() * unseen.weight
    monkeypatch.setattr("training.data.self_pairs.known_base_image", plain_transfer)
    plain = draw_batch(scan_pairs, 99, 0, 0, 64, 24)
    assert torch.equal(plain.sharp, unseen.sharp)
    linear = (plain.base - plain.target).abs() * plain.weight
    assert corrected[near].mean() < 0.9 * linear[near].mean()
    # Restored voxels leave little to learn, and the rest nothing (measured after these 150 steps: 1.5 % worse in all).
    assert corrected[near].mean() < 0.95 * base[near].mean()
    assert corrected.mean() < linear.mean()


def test_the_network_leaves_tissue_away_from_truncated_voxels_to_the_linear_transfer() -> None:
    network = UNet(UNetConfig((4, 4, 8, 8)))
    torch.nn.init.constant_(network.head.bias, 1.0)
    sharp, lost = torch.full((1, 1, 64, 64), -800.0), torch.zeros(1, 1, 64, 64)
    base = torch.randn(1, 1, 64, 64) * 20.0 - 800.0
    sharp[0, 0, 32, 32], lost[0, 0, 32, 32] = -1024.0, -20.0
    with torch.no_grad():
        out = network(sharp, base, lost)
    changed = (out != base)[0, 0].nonzero()
    assert changed.numel() > 0
    assert (changed - 32).abs().max() <= 6


def test_an_exported_run_is_a_model_every_backend_reproduces(scan_pairs: SelfPairs, tmp_path: Path) -> None:
    train(replace(TINY, steps=2), tmp_path / "run", scan_pairs)
    description = {"training_data": "one simulated chest", "metrics": {}, "licence": "Apache-2.0"}
    model = load_model(export(tmp_path / "run", tmp_path / "made", description))
    assert model.id == "made"
    for name in ("openvino", "onnxruntime", "torch"):
        assert conformance_error(create_cpu_backend(name, model), model.conformance()) < 0.01
    with pytest.raises(InputError, match="new name"):
        export(tmp_path / "run", tmp_path / "made", description)


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        build_source(SourceConfig())
    with pytest.raises(InputError, match="no simulated patient"):
        build_source(SourceConfig(simulated=(str(tmp_path),)))


def test_reference_energies_compare_smooth_lungs_with_the_sharp_anchor_band(tmp_path: Path) -> None:
    pair = make_sample(4, (10, 208, 208), (20.0, 0.9, 0.9))
    middle = slice(2, 8)
    meta = {"padding": None, "sharp_kernel": {"name": "B80f", "number": 80}, "slice_mm": 20.0}
    images = (volume.hu[middle].astype(np.int16) for volume in (pair.sharp, pair.smooth))
    patient = KernelPair(*images, pair.lungs[middle].astype(np.uint8), pair.sharp.geometry.spacing, meta)
    (tmp_path / "patients").mkdir()
    for index in range(2):
        write_patient(patient_path(tmp_path, index), patient)
    found = reference_energies([tmp_path])
    assert found.patients == 2
    assert found.spread == pytest.approx(0.0)
    # Kernels leave the anchor band alone up to their lift and the sharp noise, which at 0.9 mm reaches into it.
    assert found.mean[ANCHOR] == pytest.approx(1.0, abs=0.2)


def test_checkpoints_hold_tensors_only(scan_pairs: SelfPairs, tmp_path: Path) -> None:
    train(replace(TINY, steps=1), tmp_path, scan_pairs)
    content = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert content["step"] == 1


class Given(torch.nn.Module):
    """Gives its base back, so that a loss can be asked about any image."""

    def forward(self, sharp: torch.Tensor, base: torch.Tensor, lost: torch.Tensor) -> torch.Tensor:
        return base


def emphysema_loss(made: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> float:
    weight = torch.ones_like(target) if weight is None else weight
    batch = Batch(target, made, torch.zeros_like(target), target, weight)
    with_it, without = (float(loss_of(Given(), batch, weight.sum(), 0.0, weighed)) for weighed in (1000.0, 0.0))
    return with_it - without


def test_emphysema_loss_is_the_error_of_the_share_below_the_threshold() -> None:
    target = torch.full((2, 1, 128, 128), -900.0)
    target[:, :, :32] = -1000.0  # air outside
    target[0, :, 64:96, 64:96] = -970.0  # a quarter of one region of 64 x 64, a sixteenth of the patch
    assert emphysema_loss(target, target) == pytest.approx(0.0, abs=2.0)
    lifted = torch.where(target == -970.0, -930.0, target)
    assert emphysema_loss(lifted, target) == pytest.approx(1000.0 / 32.0, rel=0.05)
    moved = torch.roll(target, 16, dims=3)  # elsewhere in the same region: the share is right
    assert emphysema_loss(moved, target) == pytest.approx(0.0, abs=2.0)
    known = torch.where(target == -970.0, 0.0, 1.0)
    assert emphysema_loss(lifted, target, known) == pytest.approx(0.0, abs=2.0)
