"""The version is written twice; both must agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

from KernelNormalizationLib.core.methods.registry import VERSION


def test_the_package_and_the_provenance_state_the_same_version() -> None:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == VERSION
