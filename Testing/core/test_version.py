"""The version is written once; package, provenance and command line read it there."""

from __future__ import annotations

import tomllib
from pathlib import Path

from setuptools.config.pyprojecttoml import read_configuration

from KernelNormalizationLib.core import version
from KernelNormalizationLib.core.provenance.manifest import new_manifest

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def test_the_package_takes_its_version_from_the_code() -> None:
    assert "version" not in tomllib.loads(PROJECT.read_text())["project"]
    assert read_configuration(PROJECT)["project"]["version"] == version.VERSION


def test_the_provenance_states_the_same_version() -> None:
    assert new_manifest("normalization")["version"] == version.VERSION
