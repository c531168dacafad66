"""Python packages that the network needs and Slicer does not have: checked before a run, installed only after asking."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import slicer

from ..background.exchange import Settings
from ..core.errors import CTKernelError

logger = logging.getLogger(__name__)
REQUESTER = "Kernel Normalization"
TORCH_REQUIREMENT = ">=2.4"
CPU_RUNTIMES = ("openvino", "onnxruntime", "torch")
NO_CONSOLE = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would flash a console window


class DependencyError(CTKernelError):
    """Something to install is missing, or the user declined to install it."""


class Declined(DependencyError):
    """The user declined an installation; shown as plain text, not as an error."""


WITHOUT_PACKAGES = "The method “Restored linear transfer” needs nothing more."


@dataclass(frozen=True)
class Devices:
    """What this computer can compute with.

    Attributes:
        gpuName: name of the NVIDIA GPU, or ``None``.
        torchVersion: installed torch, such as ``2.6.0+cpu``, or ``None``.
    """

    gpuName: str | None
    torchVersion: str | None

    @property
    def torchIsCpuBuild(self) -> bool:
        """Whether the installed torch cannot use an NVIDIA GPU."""
        return self.torchVersion is not None and "+cpu" in self.torchVersion

    def describe(self) -> str:
        """One line for the user, with a warning if the GPU cannot be used."""
        if self.gpuName is None:
            return "Computes on the CPU (no NVIDIA GPU found)."
        if self.torchIsCpuBuild:
            return (
                f"{self.gpuName} found, but the installed PyTorch {self.torchVersion} is a CPU build: it will not be used. "
                "Reinstall PyTorch with CUDA in the PyTorch Utils module."
            )
        if self.torchVersion is None:
            return f"{self.gpuName} found; PyTorch will be offered for installation to use it."
        return f"Automatic uses {self.gpuName}."


class Dependencies:
    """Checks and installs the packages that a run needs."""

    def devices(self) -> Devices:
        """What this computer can compute with; queries the driver; torch is not loaded."""
        return Devices(_nvidiaGpu(), _version("torch"))

    def missing(self, settings: Settings) -> list[str]:
        """Packages that ``settings`` need and that are not installed: "torch", "safetensors", "onnxruntime"."""
        if settings.method != "unet":
            return []
        wantsGpu = settings.device in ("cuda", "mps") or (settings.device == "auto" and _nvidiaGpu() is not None)
        if wantsGpu:
            return [name for name in ("torch", "safetensors") if not _installed(name)]
        return [] if any(_installed(name) for name in CPU_RUNTIMES) else ["onnxruntime"]

    def install(self, missing: list[str], requirementsFile: Path) -> None:
        """Ask, then install; torch by the PyTorch extension, the rest by Slicer's package installer.

        Raises:
            DependencyError: the user declined, the PyTorch extension is missing, or the installation failed.
        """
        if "torch" in missing:
            _installTorch()
        others = [line for line in _requirements(requirementsFile) if _moduleOf(line) in missing]
        if others:
            installPackages(others, REQUESTER, WITHOUT_PACKAGES)
        if not all(_installed(name) for name in missing):
            raise DependencyError(_failed(missing, WITHOUT_PACKAGES))


def _installTorch() -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        raise DependencyError(
            "The GPU needs PyTorch. Install the extension “PyTorch” in the Extensions Manager and restart Slicer, or choose "
            "the device CPU."
        ) from error
    logic = PyTorchUtils.PyTorchUtilsLogic()
    try:
        torch = logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT)
    except (ImportError, RuntimeError, ValueError, subprocess.CalledProcessError) as error:
        raise DependencyError(f"PyTorch could not be installed ({error}). Try again, or choose the device CPU.") from error
    if torch is None:
        raise Declined(
            "PyTorch was not installed. Press Normalize again to install it, or choose the device CPU. " + WITHOUT_PACKAGES
        )


def installPackages(requirements: list[str], requester: str, otherwise: str) -> None:
    """Ask, then install Python packages with Slicer's package installer.

    Args:
        requirements: as pip takes them, such as ``onnxruntime>=1.19``.
        requester: who needs them, for the question.
        otherwise: one sentence on what works without them.

    Raises:
        Declined: the user declined.
        DependencyError: the installation failed.
    """
    declined = f"{', '.join(requirements)} was not installed. Press the button again to install it. {otherwise}"
    try:
        _askAndInstall(requirements, requester, declined)
    except subprocess.CalledProcessError as error:
        logger.warning("pip failed: %s", error)
        raise DependencyError(_failed(requirements, otherwise)) from error
    if not all(_installed(_moduleOf(line)) for line in requirements):
        raise DependencyError(_failed(requirements, otherwise))


def _failed(what: list[str], otherwise: str) -> str:
    return f"{', '.join(what)} could not be installed. Check the network connection. {otherwise}"


def _askAndInstall(requirements: list[str], requester: str, declined: str) -> None:
    try:
        from packaging.requirements import Requirement
        from slicer.packaging import pip_ensure
    except ImportError:  # before Slicer 5.12
        if not slicer.util.confirmOkCancelDisplay(
            f"{requester} needs the Python package(s) {', '.join(requirements)}. Install now?"
        ):
            raise Declined(declined) from None
        slicer.util.pip_install(requirements)
        return
    try:
        pip_ensure([Requirement(line) for line in requirements], requester=requester)
    except RuntimeError as error:  # what Slicer raises when the user declines
        raise Declined(declined) from error


def _moduleOf(requirement: str) -> str:
    return requirement.split(">")[0].strip().lower()


def _requirements(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _installed(name: str) -> bool:
    importlib.invalidate_caches()
    return importlib.util.find_spec(name) is not None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache  # graphics cards do not change while the application runs, and the query takes up to seconds
def _nvidiaGpu() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        command = [program, "--query-gpu=name", "--format=csv,noheader"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5.0, check=True, creationflags=NO_CONSOLE)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("nvidia-smi did not answer: %s", error)
        return None
    return next((line.strip() for line in answer.stdout.splitlines() if line.strip()), None)
