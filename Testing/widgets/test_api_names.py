"""Every Qt, ctk, qMRML and ``slicer.util`` name that the modules write exists in Slicer 5.13, run or not."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from slicerhost import facts, uifiles

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("KernelNormalization", "EmphysemaQuant")
# slicer.packaging came with 5.12 and is probed; names that 5.13 has and 5.10 lacks must not appear at all.
NEWER_THAN_5_10 = {"slicer.packaging"}


def sources() -> list[Path]:
    """Every file that may use Slicer: all of both modules but the core, which another test keeps free of it."""
    found = []
    for module in MODULES:
        library = ROOT / module / f"{module}Lib"
        below = [path for path in sorted(library.rglob("*.py")) if library / "core" not in path.parents]
        found += [ROOT / module / f"{module}.py", *below]
    return found


def dotted(node: ast.AST) -> str | None:
    """``a.b.c`` of an attribute chain on a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else None
    return None


def chains(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {name for node in ast.walk(tree) if isinstance(node, ast.Attribute) and (name := dotted(node))}


def test_the_files_that_use_slicer_are_read() -> None:
    rooms = {path.parent.name for path in sources()}
    assert {"ui", "mrml", "background"} <= rooms


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_level_names_exist_in_slicer(path: Path) -> None:
    import slicer

    for name in sorted(chains(path)):
        parts = name.split(".")
        if parts[0] in ("qt", "ctk"):
            assert parts[1] in facts.module_names(parts[0]), f"{name} does not exist"
        elif name.startswith("slicer.util.") and len(parts) == 3:
            assert parts[2] in facts.module_names("slicer.util"), f"{name} does not exist in 5.13"
            assert hasattr(slicer.util, parts[2]), f"{name} is not in the 5.11 slicer.util"
        elif name.startswith("slicer.app.") and len(parts) == 3:
            assert parts[2] in facts.of("slicer.app").names, f"{name} does not exist"
        elif name.startswith("slicer.modules.") and len(parts) == 3:
            assert parts[2] in facts.module_names("slicer.modules"), f"{name} does not exist"
        elif parts[0] == "slicer" and parts[1].startswith(("q", "ctk")):
            assert parts[1] in facts.module_names("slicer (q*)"), f"{name} does not exist"
        elif parts[0] == "slicer" and parts[1].startswith("vtk"):
            owner = slicer
            for part in parts[1:]:
                assert hasattr(owner, part), f"{name} does not exist in slicer-core 5.11"
                owner = getattr(owner, part)


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_connected_signatures_exist_on_some_class(path: Path) -> None:
    known = {signature for entry in facts.load().values() for signature in entry.signals} | {"timeout()"}
    for signature in re.findall(r"\.connect\(\s*\"([^\"]+)\"", path.read_text(encoding="utf-8")):
        assert facts.normalized(signature) in known, f"{path.name}: {signature} is no signal of a class in use"


@pytest.mark.parametrize("module", MODULES)
def test_ui_file_uses_only_known_classes_properties_and_connections(module: str) -> None:
    tree = ET.parse(ROOT / module / "Resources" / "UI" / f"{module}.ui").getroot()
    uifiles.check(tree)


@pytest.mark.parametrize("module", MODULES)
def test_every_control_has_a_tool_tip_and_a_place_in_the_tab_order(module: str) -> None:
    tree = ET.parse(ROOT / module / "Resources" / "UI" / f"{module}.ui").getroot()
    stops = {stop.text for stop in tree.iter("tabstop")}
    controls = ("QPushButton", "QCheckBox", "QComboBox", "ctkSliderWidget", "qMRMLNodeComboBox", "qMRMLCheckableNodeComboBox")
    for widget in tree.iter("widget"):
        if widget.attrib["class"] in controls:
            properties = {p.attrib["name"] for p in widget.findall("property")}
            assert "toolTip" in properties, f"{widget.attrib['name']} has no tool tip"
            assert widget.attrib["name"] in stops, f"{widget.attrib['name']} is not in the tab order"
            assert not {"minimumSize", "maximumSize", "geometry"} & properties, f"{widget.attrib['name']} has a fixed size"


@pytest.mark.slow
def test_modules_load_without_anything_to_install() -> None:
    """Importing both modules, widgets included, needs nothing beyond what Slicer brings."""
    import subprocess

    code = (
        "import sys; sys.path[:0] = ['Testing', 'KernelNormalization', 'EmphysemaQuant']\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'safetensors', 'onnxruntime', 'openvino', 'onnx', 'matplotlib', 'nrrd'):\n"
        "            raise ImportError(name + ' is not part of Slicer')\n"
        "from slicerhost import application; application.start()\n"
        "[sys.modules.pop(m) for m in list(sys.modules) if m.split('.')[0] in ('matplotlib',)]\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "import KernelNormalization, EmphysemaQuant\n"
        "assert 'SimpleITK' not in sys.modules, 'the modules slow down the start of the application'\n"
        "import KernelNormalizationLib.ui.widget, EmphysemaQuantLib.ui.widget\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stderr[-2000:]
