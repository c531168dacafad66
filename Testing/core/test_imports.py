"""Imports go one way, and the core starts without the libraries that only some runs need."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "KernelNormalization" / "KernelNormalizationLib"
EMPHYSEMA = ROOT / "EmphysemaQuant" / "EmphysemaQuantLib"
SLICER = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "mrml", "PythonQt"}
CORES = [*sorted((KERNEL / "core").rglob("*.py")), *sorted((EMPHYSEMA / "core").rglob("*.py"))]


def package_of(path: Path) -> str:
    """Dotted package that relative imports of ``path`` start from."""
    for root in (KERNEL.parent, EMPHYSEMA.parent, ROOT):
        if path.is_relative_to(root):
            return ".".join(path.relative_to(root).parts[:-1])
    raise AssertionError(path)


def imported(path: Path) -> Iterator[str]:
    """Absolute dotted names ``path`` imports anywhere in its text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package_of(path).split(".") if node.level else []
            base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def reaches(path: Path, forbidden: set[str]) -> set[str]:
    """Which of ``forbidden`` packages or modules ``path`` imports."""
    return {name for name in imported(path) for part in forbidden if name == part or name.startswith(part + ".")}


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


LIBRARIES = (KERNEL, EMPHYSEMA)
WINDOW = {"qt", "ctk", "PythonQt"}


def rooms(*names: str) -> set[str]:
    """These rooms of both modules."""
    return {f"{library.name}.{name}" for library in LIBRARIES for name in names}


def files_of(*names: str) -> list[Path]:
    """Every file of these rooms of both modules."""
    found: list[Path] = []
    for library in LIBRARIES:
        for name in names:
            found += python_files(library / name) or [library / f"{name}.py"]
    return [path for path in found if path.exists()]


def named(path: Path) -> str:
    return f"{package_of(path)}.{path.stem}"


@pytest.mark.parametrize("path", CORES, ids=named)
def test_the_core_knows_nothing_above_it(path: Path) -> None:
    above = rooms("mrml", "background", "logic", "ui", "selftest")
    assert not reaches(path, SLICER | above | {"training", "ctkernel", "trame"})


def test_the_normalization_core_does_not_know_the_emphysema_module() -> None:
    for path in CORES:
        if path.is_relative_to(KERNEL):
            assert not reaches(path, {EMPHYSEMA.name})


def test_scene_and_logic_know_nothing_of_the_window() -> None:
    for path in files_of("mrml", "logic"):
        assert not reaches(path, WINDOW), path
    for path in files_of("mrml", "background", "logic"):
        assert not reaches(path, rooms("ui", "selftest")), path
    for path in files_of("mrml", "background"):
        assert not reaches(path, rooms("logic")), path


@pytest.mark.slow
def test_the_modules_need_neither_training_nor_the_command_line() -> None:
    for path in [*python_files(KERNEL), *python_files(EMPHYSEMA)]:
        assert not reaches(path, {"training", "ctkernel"}), path


def test_training_and_the_command_line_know_no_window() -> None:
    for path in python_files(ROOT / "training"):
        assert not reaches(path, SLICER | {"ctkernel"} | rooms("mrml", "logic", "ui")), path
    for path in python_files(ROOT / "ctkernel"):
        assert not reaches(path, {"qt", "ctk", "training"} | rooms("ui")), path


@pytest.mark.slow
def test_no_files_import_each_other_in_a_loop() -> None:
    """Imports at any depth of the text count, also those inside functions."""
    folders = [KERNEL, EMPHYSEMA, ROOT / "ctkernel", ROOT / "training"]
    paths = [path for folder in folders for path in python_files(folder)]
    names = {f"{package_of(path)}.{path.stem}".removesuffix(".__init__"): path for path in paths}
    needs = {name: {n for n in imported(path) if n in names and n != name} for name, path in names.items()}
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(needs[name]):
                walk(other, (*way, name))
            done.add(name)

    for name in names:
        walk(name, ())


@pytest.mark.slow
def test_the_core_is_imported_without_any_library_that_may_be_missing() -> None:
    modules = [f"{package_of(p)}.{p.stem}" for p in CORES if p.stem not in ("__init__", "unet")]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'openvino', 'onnxruntime', 'onnx', 'safetensors', 'matplotlib', 'numba'}\n"
        f"heavy |= {SLICER!r}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    paths = os.pathsep.join([str(KERNEL.parent), str(EMPHYSEMA.parent)])
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
