"""The methods of a comparison: the product's normalizers, the raw image, and two references of our own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, stats

from KernelNormalizationLib.core.api import create_normalizer
from KernelNormalizationLib.core.backends import Device
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.floor import detect_floor
from KernelNormalizationLib.core.kernels import KernelModel
from KernelNormalizationLib.core.normalizers import METHODS, Normalizer
from KernelNormalizationLib.core.progress import ProgressTracker

from ..simulate.kernel_family import SMOOTH_KERNEL, SharpKernel
from ..simulate.sampling import radial_frequency
from .cases import Case

FloatArray = NDArray[np.float32]
Apply = Callable[[Case], FloatArray]

# Censoring inversion, in lung and air only. Local mean and variance are taken over Gaussians of these widths (pixels) and
# residuals beyond three robust standard deviations are cut. On five simulated B80f patients of EI 0 to 31 %: abs. dEI 0.95
# points (2 and 5 pixels: 1.2; a cut at 4: 0.96; without mask and cut: 2.8), 2.4 without inversion.
MEAN_SIGMA, VARIANCE_SIGMA = 4.0, 8.0
OUTLIER = 3.0
PARENCHYMA_HU = -700.0
# Weakest restoring gain of the oracle: below it the sharp kernel carries nothing.
ORACLE_GAIN_LIMIT = 50.0


@dataclass(frozen=True)
class MethodSpec:
    """A named method.

    Attributes:
        label: name in tables.
        kind: ``raw``, a normalizer's method, ``censoring`` or ``oracle``.
        model: model identifier or folder for ``unet``; ``{fold}`` stands for the fold that left the patient out.
    """

    label: str
    kind: str
    model: str | None = None


KINDS = ("raw", *METHODS, "censoring", "oracle")


def parse_method(text: str) -> MethodSpec:
    """Read ``[LABEL=]KIND[:MODEL]``, such as ``linear``, ``ours=unet:models/a`` or ``paper=unet:cv/fold{fold}``.

    Raises:
        InputError: the kind is unknown, or a model is given to a method without one.
    """
    label, _, rest = text.rpartition("=")
    kind, _, model = rest.partition(":")
    if kind not in KINDS:
        raise InputError(f"Method {text!r}: {kind!r} is not one of {', '.join(KINDS)}.")
    if model and kind != "unet":
        raise InputError(f"Method {text!r}: only unet takes a model.")
    return MethodSpec(label or kind, kind, model or None)


def read_folds(path: Path | None) -> dict[str, int]:
    """Fold in which each patient was tested, from a JSON object ``{"sim0000": 0, …}``; empty without a file.

    Raises:
        InputError: not such a file.
    """
    if path is None:
        return {}
    try:
        folds = json.loads(path.read_text())
        return {str(name).removesuffix(".npz"): int(fold) for name, fold in folds.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is not a JSON object of patient names and fold numbers ({error}).") from error


class MethodRunner:
    """Applies one method to case after case; networks are loaded once a fold.

    Args:
        spec: the method.
        folds: see :func:`read_folds`.
        device: where networks compute.
    """

    def __init__(self, spec: MethodSpec, folds: dict[str, int], device: Device = "auto") -> None:
        self.spec = spec
        self._folds = folds
        self._device: Device = device
        self._loaded: dict[str | None, Normalizer] = {}

    def __call__(self, case: Case) -> FloatArray:
        """Normalized voxels: float32 (k, j, i), HU, not yet rounded.

        Raises:
            InputError: the method cannot treat this case.
        """
        if self.spec.kind == "raw":
            return case.sharp.hu
        if self.spec.kind == "oracle":
            return oracle(case)
        if self.spec.kind == "censoring":
            return invert_censoring(case, self._normalizer("linear", None).normalize(case.sharp, ProgressTracker()).volume.hu)
        normalizer = self._normalizer(self.spec.kind, self._model_for(case))
        return normalizer.normalize(case.sharp, ProgressTracker()).volume.hu

    def _model_for(self, case: Case) -> str | None:
        model = self.spec.model
        if model is None or "{fold}" not in model:
            return model
        if case.name not in self._folds:
            raise InputError(f"{case.name} is in no fold; list every patient in the --folds file.")
        return model.replace("{fold}", str(self._folds[case.name]))

    def _normalizer(self, kind: str, model: str | None) -> Normalizer:
        if model not in self._loaded:
            method = next(m for m in METHODS if m == kind)
            self._loaded[model] = create_normalizer(method, model=model, device=self._device)
        return self._loaded[model]


def oracle(case: Case) -> FloatArray:
    """The exact linear transfer of the sharp volume before its HU floor: what is left is noise no filter can undo.

    Raises:
        InputError: the pair was made without ``--keep-unclipped``, or its kernel is not known exactly.
    """
    kernel = case.meta["sharp_kernel"]
    if case.unclipped is None or kernel.get("estimated") is not None:
        raise InputError(f"{case.name} has no unclipped volume; simulate with --keep-unclipped for the oracle.")
    model = KernelModel(*(kernel[name] for name in ("number", "f50", "p", "b", "f1")))
    sharp = SharpKernel(str(kernel["name"]), model, float(kernel["lift"]))
    f = radial_frequency(case.unclipped.shape[1], case.sharp.geometry.spacing[1])
    gain = np.minimum(SMOOTH_KERNEL.mtf(f) / np.maximum(sharp.mtf(f), 1e-6), ORACLE_GAIN_LIMIT).astype(np.float32)
    planes = [fft.irfft2(fft.rfft2(plane) * gain, s=plane.shape) for plane in case.unclipped]
    hu = case.sharp.hu.copy()
    hu[: case.slices] = np.stack(planes)
    floor = case.meta["floor"]
    return hu if floor["kind"] == "none" else np.maximum(hu, np.float32(floor["value"]))


def invert_censoring(case: Case, base: FloatArray) -> FloatArray:
    """The linear transfer plus the bias that the HU floor put into it.

    A voxel below the floor was stored at it: locally the image is max(x, floor) with x normal of mean mu and standard
    deviation sigma. Mean and variance of the stored values give both, and mu minus the stored mean is added. Without a
    clipped floor the base is returned.

    Args:
        case: the pair; only its sharp volume is used.
        base: float32 (k, j, i), linear transfer of it, HU.
    """
    floor = detect_floor(case.sharp.hu, case.sharp.padding_mask)
    if floor.kind != "clipped":
        return base
    noise = case.sharp.filled() - base
    parenchyma = base < PARENCHYMA_HU
    if not parenchyma.any():
        return base
    weight = parenchyma.astype(np.float32)
    # Vessel edges stand out of the noise; they are not noise.
    limit = OUTLIER * 1.4826 * float(np.median(np.abs(noise[parenchyma])))
    square = np.clip(noise, -limit, limit) ** 2
    variance = np.maximum(_weighted_blur(square, weight, VARIANCE_SIGMA), 1e-3)
    mean = _weighted_blur(base, weight, MEAN_SIGMA) - floor.value
    ratio = np.sqrt(variance) / np.maximum(mean, 1e-1)
    t, shift = _censoring_table()
    position = np.interp(ratio, t[0], t[1])
    bias = weight * np.sqrt(variance) * np.interp(position, shift[0], shift[1])
    restored: FloatArray = np.maximum(base - bias, floor.value).astype(np.float32)
    return restored


def _weighted_blur(hu: FloatArray, weight: FloatArray, sigma: float) -> FloatArray:
    blurred = ndimage.gaussian_filter(hu * weight, (0.0, sigma, sigma))
    result: FloatArray = blurred / np.maximum(ndimage.gaussian_filter(weight, (0.0, sigma, sigma)), 1e-3)
    return result


def _censoring_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((sd / mean, t), (t, bias / sd)) of max(x, 0), x normal of mean t and unit variance, for t from -3 to 8."""
    t = np.linspace(-3.0, 8.0, 441)
    density, below = stats.norm.pdf(t), stats.norm.cdf(t)
    mean = density + t * below
    sd = np.sqrt(np.maximum((1.0 + t * t) * below + t * density - mean * mean, 1e-12))
    ratio = sd / mean
    order = np.argsort(ratio)
    return np.stack([ratio[order], t[order]]), np.stack([t, (mean - t) / sd])
