"""A small simulated chest and the file of its sharp volume, made once for all tests; none of them changes either."""

from __future__ import annotations

from pathlib import Path

import pytest

from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import SamplePair, make_sample

SMALL_SHAPE, SMALL_SPACING = (24, 208, 208), (10.0, 1.6, 1.6)


@pytest.fixture(scope="session")
def sample() -> SamplePair:
    return make_sample(3, SMALL_SHAPE, SMALL_SPACING)


@pytest.fixture(scope="session")
def scan(sample: SamplePair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "sharp.nrrd"
    write_volume(sample.sharp, path)
    return path
