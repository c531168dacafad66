"""What is asked, installed and said when a package is missing, with old and new Slicer's installers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import slicer
from normalizationpanel import UI_FILE

from EmphysemaQuantLib.logic import REPORT_PACKAGES, EmphysemaLogic
from EmphysemaQuantLib.selftest.quantification import UI_FILE as EMPHYSEMA_UI
from EmphysemaQuantLib.ui.widget import EmphysemaPanel
from KernelNormalizationLib.background.exchange import Settings
from KernelNormalizationLib.selftest.base import waitUntil
from KernelNormalizationLib.ui import dependencies
from KernelNormalizationLib.ui.dependencies import Declined, Dependencies, DependencyError

REQUIREMENTS = UI_FILE.parents[1] / "requirements.txt"
Install = Callable[[list[str]], None]


class Computer:
    """Which packages are there, and what was asked and installed."""

    def __init__(self) -> None:
        self.installed: set[str] = set()
        self.asked: list[str] = []
        self.answer = True


@pytest.fixture
def computer(app: Any, monkeypatch: pytest.MonkeyPatch) -> Computer:
    made = Computer()

    def ask(question: str, *_: Any, **__: Any) -> bool:
        made.asked.append(question)
        return made.answer

    monkeypatch.setattr(dependencies, "_installed", lambda name: name in made.installed)
    monkeypatch.setattr(dependencies, "_nvidiaGpu", lambda: None)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", ask)
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    return made


def give(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


def names(requirements: list[Any]) -> set[str]:
    return {str(r).split(">")[0].strip() for r in requirements}


def test_cpu_needs_one_runtime_and_a_gpu_needs_torch(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Dependencies().missing(Settings("unet")) == ["onnxruntime"]
    computer.installed = {"openvino"}
    assert Dependencies().missing(Settings("unet")) == []
    assert Dependencies().missing(Settings("unet", device="cuda")) == ["torch", "safetensors"]
    monkeypatch.setattr(dependencies, "_nvidiaGpu", lambda: "NVIDIA RTX A2000")
    assert Dependencies().missing(Settings("unet")) == ["torch", "safetensors"]
    assert Dependencies().missing(Settings("unet", device="cpu")) == []


def test_old_slicer_asks_before_pip_installs(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicer.util, "pip_install", lambda requirements: computer.installed.update(names(requirements)), False)
    Dependencies().install(["onnxruntime"], REQUIREMENTS)
    assert computer.installed == {"onnxruntime"}
    (question,) = computer.asked
    assert "Kernel Normalization needs the Python package(s) onnxruntime" in question


def test_old_slicer_installs_nothing_that_was_declined(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    computer.answer = False
    monkeypatch.setattr(slicer.util, "pip_install", lambda _: pytest.fail("installed although declined"), False)
    with pytest.raises(Declined, match=r"was not installed\. Press the button again .* “Restored linear transfer” needs"):
        Dependencies().install(["onnxruntime"], REQUIREMENTS)


def test_failing_pip_is_said(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: list[str]) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(slicer.util, "pip_install", fails, False)
    with pytest.raises(DependencyError, match=r"could not be installed\. Check the network connection"):
        Dependencies().install(["onnxruntime"], REQUIREMENTS)


def test_new_slicer_asks_by_itself(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip_ensure(requirements: list[Any], requester: str) -> None:
        assert requester == "Kernel Normalization"
        computer.installed.update(requirement.name for requirement in requirements)

    give(monkeypatch, "slicer.packaging", pip_ensure=pip_ensure)
    Dependencies().install(["onnxruntime"], REQUIREMENTS)
    assert computer.installed == {"onnxruntime"}
    assert computer.asked == []


def test_new_slicer_that_declines_or_does_nothing_is_said(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    def declined(*_: Any, **__: Any) -> None:
        raise RuntimeError("User declined")

    give(monkeypatch, "slicer.packaging", pip_ensure=declined)
    with pytest.raises(Declined, match=r"was not installed\. Press the button again .* “Restored linear transfer” needs"):
        Dependencies().install(["onnxruntime"], REQUIREMENTS)
    give(monkeypatch, "slicer.packaging", pip_ensure=lambda *_, **__: None)  # as in testing mode
    with pytest.raises(DependencyError, match=r"onnxruntime.* could not be installed\. Check the network connection"):
        Dependencies().install(["onnxruntime"], REQUIREMENTS)


def torch_utils(install: Callable[..., Any]) -> type:
    return type("PyTorchUtilsLogic", (), {"installTorch": lambda self, **options: install(**options)})


def test_torch_comes_from_its_extension_after_asking(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(askConfirmation: bool, torchVersionRequirement: str) -> object:
        assert askConfirmation
        assert torchVersionRequirement == ">=2.4"
        computer.installed.add("torch")
        return object()

    give(monkeypatch, "PyTorchUtils", PyTorchUtilsLogic=torch_utils(install))
    monkeypatch.setattr(slicer.util, "pip_install", lambda requirements: computer.installed.update(names(requirements)), False)
    Dependencies().install(["torch", "safetensors"], REQUIREMENTS)
    assert computer.installed == {"torch", "safetensors"}


def test_torch_that_was_declined_or_failed_is_said(computer: Computer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    give(monkeypatch, "PyTorchUtils", PyTorchUtilsLogic=torch_utils(lambda **_: None))
    with pytest.raises(Declined, match=r"PyTorch was not installed\. Press Normalize again .* needs nothing more"):
        Dependencies().install(["torch"], REQUIREMENTS)

    def fails(**_: Any) -> None:
        raise RuntimeError("no wheel for this computer")

    give(monkeypatch, "PyTorchUtils", PyTorchUtilsLogic=torch_utils(fails))
    with pytest.raises(DependencyError, match="could not be installed \\(no wheel for this computer\\)"):
        Dependencies().install(["torch"], REQUIREMENTS)


def test_a_driver_that_does_not_answer_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    dependencies._nvidiaGpu.cache_clear()
    assert Dependencies().devices().gpuName is None
    dependencies._nvidiaGpu.cache_clear()


def test_the_report_asks_for_its_packages_too(
    computer: Computer, app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh Slicer has neither matplotlib nor Jinja2; both are asked for when a report is saved."""

    class NothingInstalled(EmphysemaLogic):
        @staticmethod
        def missingForReport() -> list[str]:
            return [name for name in REPORT_PACKAGES if name.lower() not in computer.installed]

        def getParameterNode(self) -> Any:
            return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")

    monkeypatch.setattr(slicer.util, "pip_install", lambda wanted: computer.installed.update(n.lower() for n in wanted), False)
    panel = EmphysemaPanel(NothingInstalled(), str(EMPHYSEMA_UI))
    panel.result = object()  # type: ignore[assignment]

    def write(_result: object, folder: Path) -> dict[str, Path]:
        page = folder / "page.html"
        page.write_text("the report")
        return {"html": page}

    monkeypatch.setattr(panel.logic, "writeReport", write, False)
    computer.answer = False
    panel.saveReport(str(tmp_path / "report.html"))
    assert computer.asked == ["Emphysema Quantification needs the Python package(s) matplotlib, Jinja2. Install now?"]
    assert panel.ui.statusLabel.text.endswith("Text (.txt) and CSV need nothing more.")
    computer.answer = True
    panel.saveReport(str(tmp_path / "report.html"))
    waitUntil(lambda: "report.html" in panel.ui.statusLabel.text, "what the panel says of the report", 30.0)
    assert (tmp_path / "report.html").read_text() == "the report"
    panel.cleanup()
    panel.widget.deleteLater()
