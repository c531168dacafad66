"""Fixtures of the core tests: real scans where they are at hand, and a tiny verified model made on the spot."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import settings

from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.network.model_folder import Model, load_model
from KernelNormalizationLib.core.suitability import Suitability, assess
from KernelNormalizationLib.core.volume import CTVolume

REAL_FIXTURES = {"siemens_b70f", "philips_sharp", "philips_soft"}
REAL_SCANS = Path(__file__).resolve().parents[3] / "shared" / "data"

# Shared CPUs make deadlines flaky; a fixed order makes a failure repeatable.
settings.register_profile("core", deadline=None, derandomize=True, database=None, max_examples=25)
settings.load_profile("core")


def _real(*parts: str) -> CTVolume:
    path = REAL_SCANS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real scan {path} is not here")
    return read_volume(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real scans are slow where the scans are at hand."""
    for item in items:
        if REAL_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def siemens_b70f() -> CTVolume:
    """Whole chest, Siemens Sensation 16, B70f."""
    return _real("cptac-c3n00247-siemens", "sharp_B70f")


@pytest.fixture(scope="session")
def philips_sharp() -> CTVolume:
    """Whole chest, Philips Brilliance 16, kernel L."""
    return _real("lung-dx-a0001-philips", "sharp_L")


@pytest.fixture(scope="session")
def philips_soft() -> CTVolume:
    """The same acquisition, kernel B."""
    return _real("lung-dx-a0001-philips", "soft_B")


@pytest.fixture(scope="session")
def verdicts(siemens_b70f: CTVolume, philips_sharp: CTVolume, philips_soft: CTVolume) -> dict[str, Suitability]:
    """What is said of the three real series."""
    return {"siemens": assess(siemens_b70f), "sharp": assess(philips_sharp), "soft": assess(philips_soft)}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verified model folder whose tiny random network changes its input by some hundred HU, so that errors show."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny-residual")


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Model:
    """The model in ``model_folder``."""
    return load_model(model_folder)


@pytest.fixture(scope="session")
def direct_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same kind of network, predicting the smooth image itself."""
    return load_model(make_model(tmp_path_factory.mktemp("models") / "tiny-direct", residual=False))


def make_model(folder: Path, residual: bool = True, broken: bool = False) -> Path:
    """Export a network of the full depth and a few feature maps; ``broken`` puts NaN into its weights."""
    torch = pytest.importorskip("torch")
    from KernelNormalizationLib.core.network.unet import UNet
    from training.export import export
    from training.train import TrainConfig

    config = TrainConfig(features=(4, 8, 8, 16), residual=residual)
    torch.manual_seed(3)
    network = UNet(config.network)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # keeps what comes from far as large as the rest
    torch.nn.init.normal_(network.head.weight, 0.0, 0.5)
    if broken:
        torch.nn.init.constant_(network.head.bias, float("nan"))
    run = folder.parent / (folder.name + "-run")
    run.mkdir()
    torch.save({"average": network.state_dict()}, run / "last.ckpt")
    (run / "config.json").write_text(json.dumps(asdict(config)))
    return export(run, folder, {"training_data": "none", "metrics": {}, "licence": "Apache-2.0"})
