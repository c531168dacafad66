"""What is released: wheel and source distribution hold this project and nothing else, and the one builds the other."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("build", reason="the package build is not installed")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# What setuptools sees of a checkout; left out is what a fresh clone does not have.
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "KernelNormalization", "EmphysemaQuant", "ctkernel", "training", "Testing")
OURS = {"KernelNormalizationLib", "EmphysemaQuantLib", "ctkernel"}


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


def build(source: Path, out: Path, *kinds: str) -> None:
    # --no-isolation: nothing is downloaded
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--skip-dependency-check",
        *kinds,
        "--outdir",
        str(out),
        str(source),
    ]
    # the same time in both, so that the archives could be equal to the byte
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("distribution")
    source, unpacked = folder / "source", folder / "unpacked"
    source.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            leave_out = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
            shutil.copytree(ROOT / name, source / name, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, source / name)
    build(source, folder / "dist", "--wheel", "--sdist")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (inside,) = unpacked.iterdir()
    build(inside, folder / "again", "--wheel")
    (again,) = (folder / "again").glob("*.whl")
    return Built(wheel, sdist, again)


def contents(wheel: Path) -> dict[str, str]:
    """Name -> hash of each file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist() if not name.endswith("/")}


def test_the_wheel_holds_only_packages_of_this_project(built: Built) -> None:
    top = {name.split("/")[0] for name in contents(built.wheel)}
    (facts,) = {name for name in top if name.endswith(".dist-info")}
    assert facts.startswith("ctkernelnormalization-")
    assert top - {facts} == OURS


def test_the_wheel_holds_every_file_that_the_packages_have(built: Built) -> None:
    packaged = set(contents(built.wheel))
    roots = {"KernelNormalizationLib": "KernelNormalization", "EmphysemaQuantLib": "EmphysemaQuant", "ctkernel": "."}
    for package, root in roots.items():
        for path in (ROOT / root / package).rglob("*"):
            if (
                path.is_file()
                and "__pycache__" not in path.parts
                and path.suffix in (".py", ".json", ".csv", ".html", ".typed")
            ):
                assert path.relative_to(ROOT / root).as_posix() in packaged
    models = ROOT / "KernelNormalization" / "Resources" / "Models"
    for path in models.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".onnx", ".safetensors"):
            assert f"KernelNormalizationLib/models/{path.relative_to(models).as_posix()}" in packaged


def test_the_source_distribution_builds_the_same_wheel(built: Built) -> None:
    assert built.wheel_of_sdist.name == built.wheel.name
    assert contents(built.wheel_of_sdist) == contents(built.wheel)


def test_neither_holds_tests_training_or_results(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = ["/".join(name.split("/")[1:]) for name in archive.getnames()]
    assert not [name for name in names if name.startswith(("training/", "Testing/"))]
    assert "LICENSE" in names
