"""Backends that compute the network: torch on a GPU; OpenVINO, ONNX Runtime or torch on the CPU."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal, Protocol

import numpy as np

from ..arrays import FloatArray
from ..cores import usable_cores
from ..errors import InputError, ModelError
from ..plain_text import plain
from .model_folder import CONFORMANCE_HU, ConformanceVector, Model

logger = logging.getLogger(__name__)

# Largest number of parallel streams; each has buffers of about 0.2 GB.
LARGEST_STREAMS = 4

Device = Literal["auto", "cuda", "mps", "cpu"]


class BackendMemoryError(Exception):
    """The device ran out of memory; a smaller batch or tile may fit."""


class Backend(Protocol):
    """Computes the network for a batch of slices."""

    name: str
    device: str
    # Number of parallel calls of ``run`` (from as many threads) that makes best use of the device.
    streams: int

    @property
    def precision(self) -> str:
        """``fp32``, or the reduced precision in use."""

    def run(self, *images: FloatArray) -> FloatArray:
        """Smooth-kernel images (n, 1, rows, columns), HU.

        Args:
            images: the network's inputs in the order of :attr:`Model.inputs`, HU, all of one shape (n, 1, rows, columns);
                rows and columns are multiples of 8.

        Raises:
            BackendMemoryError: the device ran out of memory.
        """

    def free_bytes(self) -> int | None:
        """Free memory of the device in bytes; ``None`` if unknown."""


@dataclass(frozen=True)
class Choice:
    """The chosen backend, and why it was chosen, in words for the user."""

    backend: Backend
    reason: str


def choose_backend(model: Model, device: Device = "auto") -> Choice:
    """The fastest backend for ``device`` that reproduces the model's conformance vectors.

    ``auto`` tries CUDA, then MPS, then the CPU. On the CPU, OpenVINO is tried first, then ONNX Runtime, then torch.

    Raises:
        InputError: the requested device does not exist.
        ModelError: no backend is installed, or none reproduces the conformance vectors.
    """
    if device in ("auto", "cuda", "mps"):
        found, why = _gpu(device)
        if found is not None:
            return Choice(_checked(lambda: TorchBackend(model, found), model), why)
        if device != "auto":
            raise InputError(f"Device {device} was asked for, but {why}. Use --device auto or cpu.")
    else:
        why = "the CPU was asked for"
    return _cpu_choice(model, why)


def available_cpu_backends() -> list[str]:
    """Names of the installed CPU backends, fastest first."""
    modules = {"openvino": "openvino", "onnxruntime": "onnxruntime", "torch": "torch"}
    return [name for name, module in modules.items() if importlib.util.find_spec(module) is not None]


def create_cpu_backend(name: str, model: Model) -> Backend:
    """Create the CPU backend ``name``; its conformance is not checked here."""
    makers: dict[str, Callable[[], Backend]] = {
        "openvino": lambda: OpenVinoBackend(model),
        "onnxruntime": lambda: OnnxBackend(model),
        "torch": lambda: TorchBackend(model, "cpu"),
    }
    return makers[name]()


def conformance_error(backend: Backend, vectors: list[ConformanceVector]) -> float:
    """Largest deviation (HU) of ``backend`` from the expected outputs; NaN if one of its outputs is not a number."""
    return float(np.max([np.abs(backend.run(*v.images) - v.expected).max() for v in vectors]))


def _cpu_choice(model: Model, why: str) -> Choice:
    failures = []
    for name in available_cpu_backends():
        try:
            return Choice(_checked(lambda name=name: create_cpu_backend(name, model), model), f"{why}; {name} computes")  # type: ignore[misc]
        except (ModelError, BackendMemoryError, RuntimeError, ImportError, ValueError, LookupError, TypeError) as error:
            words = _in_words(error)
            logger.info("%s: %s", name, plain(error, 1000))
            logger.warning("The library %s cannot be used for the network: %s", name, words)
            failures.append(f"{name}: {words}")
    if not failures:
        raise ModelError("No library to run the network is installed; install openvino, onnxruntime or torch.")
    raise ModelError("No library here runs this model correctly. " + " ".join(failures))


def _in_words(error: Exception) -> str:
    """What a library's error says to the user: a damaged network is answered with many lines about the library's insides."""
    if isinstance(error, ModelError | BackendMemoryError):
        return str(error)
    if isinstance(error, ImportError):
        return f"it cannot be loaded ({plain(error, 120)})"
    return "it cannot read or run this network; --verbose shows its own words."


def _checked(make: Callable[[], Backend], model: Model) -> Backend:
    backend = make()
    error = conformance_error(backend, model.conformance())
    if not error <= CONFORMANCE_HU:  # written so that NaN fails, too
        raise ModelError(
            f"Model {model.id} does not reproduce its test images on {backend.name} "
            f"({error:.2f} HU off, at most {CONFORMANCE_HU} allowed); copy the model folder again."
        )
    return backend


def _gpu(device: Device) -> tuple[str | None, str]:
    if importlib.util.find_spec("torch") is None:
        return None, "torch is not installed, so no GPU can be used"
    import torch

    if device in ("auto", "cuda") and torch.cuda.is_available():
        return "cuda", f"CUDA GPU {torch.cuda.get_device_name()} is available"
    if device in ("auto", "mps") and torch.backends.mps.is_available():
        return "mps", "the Apple GPU (MPS) is available"
    if device == "cuda" and torch.version.cuda is None:
        return None, "the installed PyTorch is a CPU build"
    return None, "no GPU was found"


class OpenVinoBackend:
    """OpenVINO in fp32 on the CPU; several slices at once, on few cores each, are faster than one slice on all cores."""

    name, device, precision = "openvino", "cpu", "fp32"

    def __init__(self, model: Model) -> None:
        import openvino

        core = openvino.Core()
        self.streams = min(usable_cores(), LARGEST_STREAMS)
        # The defaults on newer CPUs, fp16 and bf16, deviate by up to 8 HU.
        hints = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": str(self.streams)}
        compiled = core.compile_model(core.read_model(str(model.onnx)), "CPU", hints)
        # Requests are reused, because each keeps its buffers from slice to slice.
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.streams):
            self._requests.put(compiled.create_infer_request())

    def run(self, *images: FloatArray) -> FloatArray:
        request = self._requests.get()
        try:
            return np.array(request.infer(list(images), share_inputs=True)[0], np.float32)
        except RuntimeError as error:
            raise _out_of_memory(error) or error from error
        finally:
            self._requests.put(request)

    def free_bytes(self) -> int | None:
        return free_memory()


class OnnxBackend:
    """ONNX Runtime on the CPU."""

    name, device, precision, streams = "onnxruntime", "cpu", "fp32", 1

    def __init__(self, model: Model) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        self._inputs = model.inputs
        try:
            self._session = onnxruntime.InferenceSession(str(model.onnx), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # errors of ONNX Runtime have no common base class
            raise RuntimeError(str(error)) from error

    def run(self, *images: FloatArray) -> FloatArray:
        try:
            return np.asarray(self._session.run(None, dict(zip(self._inputs, images, strict=True)))[0], np.float32)
        except Exception as error:  # errors of ONNX Runtime have no common base class
            raise _out_of_memory(error) or RuntimeError(str(error)) from error

    def free_bytes(self) -> int | None:
        return free_memory()


class TorchBackend:
    """torch with the memory format channels_last; on CUDA in fp16 (autocast) if that passes the conformance vectors, else fp32.

    Args:
        model: verified model.
        device: ``cuda``, ``mps`` or ``cpu``.
        autocast_dtype: name of the precision to try; default: ``float16`` on CUDA, else ``float32``.
    """

    name, streams = "torch", 1

    def __init__(self, model: Model, device: str, autocast_dtype: str | None = None) -> None:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from .unet import UNet, UNetConfig

        self._torch: Any = torch
        self.device = device
        self._network = UNet(UNetConfig.from_card(model.card["architecture"]))
        try:
            self._network.load_state_dict(load_file(str(model.weights)))
        except SafetensorError as error:
            raise RuntimeError(f"{model.weights.name} cannot be read: {error}") from error
        self._network = self._network.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        wanted = autocast_dtype or ("float16" if device == "cuda" else "float32")
        self._autocast = None if wanted == "float32" else getattr(torch, wanted)
        if self._autocast is not None and not conformance_error(self, model.conformance()) <= CONFORMANCE_HU:
            logger.info("%s is more than %.1f HU off on %s; computing in fp32", wanted, CONFORMANCE_HU, device)
            self._autocast = None

    @property
    def precision(self) -> str:
        """``fp32`` or the autocast type."""
        return "fp32" if self._autocast is None else str(self._autocast).removeprefix("torch.")

    def run(self, *images: FloatArray) -> FloatArray:
        torch = self._torch
        try:
            reduced = self._autocast is not None
            with torch.inference_mode(), self._exact(), torch.autocast(self.device, self._autocast, enabled=reduced):
                inputs = [torch.from_numpy(x).to(self.device, memory_format=torch.channels_last) for x in images]
                return np.asarray(self._network(*inputs).float().cpu().numpy(), np.float32)
        except RuntimeError as error:
            if self.device == "cuda" and _out_of_memory(error):
                torch.cuda.empty_cache()
            raise _out_of_memory(error) or error from error

    def _exact(self) -> Any:
        # Without this, cuDNN computes fp32 convolutions in TF32, whose mantissa has only 10 bits.
        return self._torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if self.device == "cuda" else nullcontext()

    def free_bytes(self) -> int | None:
        if self.device == "cuda":
            return int(self._torch.cuda.mem_get_info()[0])
        return free_memory() if self.device == "cpu" else None


def _out_of_memory(error: Exception) -> BackendMemoryError | None:
    """The error to raise if ``error`` of a library means that memory ran out; the libraries word it differently."""
    words = ("memory", "bad_alloc", "bad allocation", "failed to allocate")
    return BackendMemoryError(str(error)) if any(word in str(error).lower() for word in words) else None


def free_memory() -> int | None:
    """Available main memory in bytes; ``None`` if the system does not report it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
