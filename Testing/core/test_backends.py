"""What computes the network: alike to a hundredth of a HU, chosen with a reason, honest about memory and precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from core.chests import make_chest

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.kernels.transfer import b20f_gain
from KernelNormalizationLib.core.network.backends import (
    TorchBackend,
    available_cpu_backends,
    choose_backend,
    conformance_error,
    create_cpu_backend,
    free_memory,
)
from KernelNormalizationLib.core.network.model_folder import CONFORMANCE_HU, Model

# Issue and README promise it: whichever library is installed, the volume is the same.
AGREEMENT_HU = 0.01
torch = pytest.importorskip("torch")


def images(model: Model, rows: int, columns: int, floor: float | None = -1024.0) -> list[np.ndarray]:
    """What ``model`` sees of two slices of a chest, each (2, 1, rows, columns)."""
    whole = make_chest(slices=8, side=max(rows, columns), floor=None).volume.hu[:2, :rows, :columns]
    sharp = whole if floor is None else np.maximum(whole, np.float32(floor))
    seen = {"sharp": sharp, "base": apply_gain(whole, (0.7, 0.7), b20f_gain(70)), "lost": whole - sharp}
    return [np.ascontiguousarray(seen[name][:, None]) for name in model.inputs]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["residual", "direct"])
@pytest.mark.parametrize("shape", [(128, 96), (64, 168)])
@pytest.mark.parametrize("floor", [-1024.0, -1000.0, None])
def test_all_cpu_libraries_agree(
    request: pytest.FixtureRequest, which: str, shape: tuple[int, int], floor: float | None
) -> None:
    model: Model = request.getfixturevalue("model" if which == "residual" else "direct_model")
    assert len(available_cpu_backends()) >= 2
    seen = images(model, *shape, floor)
    results = {name: create_cpu_backend(name, model).run(*seen) for name in available_cpu_backends()}
    reference = results.pop("torch")
    assert reference.shape == seen[0].shape
    for name, result in results.items():
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, reference, rtol=0.0, atol=AGREEMENT_HU, err_msg=name)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_each_library_reproduces_the_conformance_vectors(name: str, model: Model) -> None:
    if name not in available_cpu_backends():
        pytest.skip(f"{name} is not installed")
    backend = create_cpu_backend(name, model)
    # the vectors are rounded to 0.001 HU
    assert conformance_error(backend, model.conformance()) < AGREEMENT_HU
    assert (backend.name, backend.device, backend.precision) == (name, "cpu", "fp32")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_each_library_gives_the_same_bits_twice_and_leaves_its_input_alone(name: str, model: Model) -> None:
    if name not in available_cpu_backends():
        pytest.skip(f"{name} is not installed")
    backend = create_cpu_backend(name, model)
    seen = images(model, 64, 96)
    before = [image.copy() for image in seen]
    first, second = (backend.run(*seen) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(seen, before)


def test_reduced_precision_that_is_off_is_not_used(model: Model) -> None:
    wanted = TorchBackend(model, "cpu", autocast_dtype="bfloat16")
    assert wanted.precision == "fp32"
    assert conformance_error(wanted, model.conformance()) < AGREEMENT_HU
    # it is off, indeed: the same network left in bfloat16 misses the limit
    wanted._autocast = torch.bfloat16
    assert wanted.precision == "bfloat16"
    assert conformance_error(wanted, model.conformance()) > CONFORMANCE_HU


def test_the_cpu_is_chosen_when_asked_for(model: Model) -> None:
    choice = choose_backend(model, "cpu")
    assert choice.backend.device == "cpu"
    assert choice.backend.name == available_cpu_backends()[0]
    assert "the CPU was asked for" in choice.reason
    assert choice.backend.name in choice.reason


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="this machine has a GPU")
class TestWithoutGpu:
    def test_auto_takes_the_cpu_and_says_why(self, model: Model) -> None:
        choice = choose_backend(model, "auto")
        assert choice.backend.device == "cpu"
        assert "no GPU was found" in choice.reason

    @pytest.mark.parametrize("device", ["cuda", "mps"])
    def test_asking_for_one_is_an_input_error_that_says_why(self, model: Model, device: str) -> None:
        with pytest.raises(InputError, match=f"Device {device} was asked for, but .+ Use --device auto or cpu") as caught:
            choose_backend(model, device)  # type: ignore[arg-type]
        if device == "cuda" and torch.version.cuda is None:
            assert "the installed PyTorch is a CPU build" in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_fp32_on_cuda_gives_what_the_cpu_gives(model: Model) -> None:
    seen = images(model, 128, 96)
    backend = TorchBackend(model, "cuda", "float32")
    assert backend.precision == "fp32"
    expected = TorchBackend(model, "cpu").run(*seen)
    np.testing.assert_allclose(backend.run(*seen), expected, rtol=0.0, atol=AGREEMENT_HU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_cuda_stays_within_half_a_hu(model: Model) -> None:
    choice = choose_backend(model, "cuda")
    assert choice.backend.device == "cuda"
    assert conformance_error(choice.backend, model.conformance()) <= CONFORMANCE_HU


def test_free_memory_is_told_where_the_system_tells(model: Model) -> None:
    free = free_memory()
    if not Path("/proc/meminfo").exists():
        assert free is None
        return
    assert free is not None
    assert 1e6 < free < 1e14
    assert create_cpu_backend("torch", model).free_bytes() is not None


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from KernelNormalizationLib.core.network.backends import BackendMemoryError, create_cpu_backend
from KernelNormalizationLib.core.network.model_folder import load_model
backend = create_cpu_backend(sys.argv[1], load_model(Path(sys.argv[2])))
small, large = (np.zeros((1, 1, side, side), np.float32) for side in (64, 1536))
backend.run(small, small, small)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
try:
    backend.run(large, large, large)
except BackendMemoryError:
    sys.exit(17)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs a limit on memory")
@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_a_library_that_runs_out_of_memory_is_understood(name: str, model_folder: Path) -> None:
    if name not in available_cpu_backends():
        pytest.skip(f"{name} is not installed")
    package = Path(__file__).resolve().parents[2] / "KernelNormalization"
    run = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, name, str(model_folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 17, run.stderr[-2000:]
