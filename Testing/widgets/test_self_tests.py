"""The modules' own self tests, as Slicer runs them, on the stand-in."""

from __future__ import annotations

import importlib
import unittest
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def self_tests() -> list[tuple[str, str]]:
    """(module, method) of every self test, read without importing anything that needs the application."""
    import ast
    from pathlib import Path

    found = []
    root = Path(__file__).resolve().parents[2]
    for module in ("KernelNormalization", "EmphysemaQuant"):
        files = sorted((root / module / f"{module}Lib" / "selftest").glob("*.py"))
        found += [
            (module, node.name)
            for file in files
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
    return found


@pytest.mark.parametrize(("module", "method"), self_tests())
def test_self_test(app: Any, module: str, method: str) -> None:
    case = getattr(importlib.import_module(module), f"{module}Test")(method)
    result = unittest.TestResult()
    case.run(result)
    problems = [text for _, text in [*result.errors, *result.failures]]
    assert not problems, problems[0]
    assert result.testsRun == 1
