"""The methods of a comparison: the product's normalizers, the raw image, and two references that only simulation allows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.body import find_body
from KernelNormalizationLib.core.io.file_conversion import create_normalizer
from KernelNormalizationLib.core.kernels.radial_filter import Gain, apply_gain, filter_slices
from KernelNormalizationLib.core.methods.protocol import METHODS, Normalizer
from KernelNormalizationLib.core.methods.restored import restoration
from KernelNormalizationLib.core.methods.result import TARGET_FLOOR_HU
from KernelNormalizationLib.core.network.backends import Device
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.truncation.hu_floor import detect_floor
from KernelNormalizationLib.core.volume import CTVolume

from ..simulate.kernel_family import simulated_gain
from .cases import Case

Apply = Callable[[Case], FloatArray]


@dataclass(frozen=True)
class MethodSpec:
    """A named method.

    Attributes:
        label: name in tables.
        kind: ``raw``, the method of a normalizer, or ``oracle``.
        model: for ``unet``, identifier or folder of the model, where ``{fold}`` stands for the fold in which the patient was
            tested; for ``linear`` and ``restored``, ``exact`` to use the true gain of the simulated kernel instead of the one
            that the product finds.
    """

    label: str
    kind: str
    model: str | None = None


EXACT = "exact"
KINDS = ("raw", *METHODS, "oracle")


def parse_method(text: str) -> MethodSpec:
    """Parse ``[LABEL=]KIND[:MODEL]``, such as ``linear``, ``ours=unet:models/a`` or ``best=restored:exact``.

    Raises:
        InputError: the kind is unknown, or a model is given to a method without one.
    """
    label, _, rest = text.rpartition("=")
    kind, _, model = rest.partition(":")
    if kind not in KINDS:
        raise InputError(f"Method {text!r}: {kind!r} is not one of {', '.join(KINDS)}.")
    if model and kind != "unet" and not (model == EXACT and kind in ("linear", "restored")):
        raise InputError(f"Method {text!r}: only unet takes a model, and linear and restored take {EXACT}.")
    return MethodSpec(label or kind, kind, model or None)


def read_folds(path: Path | None) -> dict[str, int]:
    """Fold in which each patient was tested, from a JSON object ``{"sim0000": 0, …}``; empty without a file.

    Raises:
        InputError: the file is not of this form.
    """
    if path is None:
        return {}
    try:
        folds = json.loads(path.read_text())
        return {str(name).removesuffix(".npz"): int(fold) for name, fold in folds.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is not a JSON object of patient names and fold numbers ({error}).") from error


class MethodRunner:
    """Applies one method to one case after the other; the network of each fold is loaded once.

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
        if self.spec.model == EXACT:
            return transferred(case.sharp, exact_gain(case), restore=self.spec.kind == "restored")
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
    """Exact linear transfer of the sharp volume before truncation: the best result that a linear filter can reach.

    Raises:
        InputError: the pair was made without ``--keep-unclipped``, or its kernel is not known exactly.
    """
    kernel = case.meta["sharp_kernel"]
    if case.unclipped is None or kernel.get("estimated") is not None:
        raise InputError(f"{case.name} has no unclipped volume; simulate with --keep-unclipped for the oracle.")
    hu = case.sharp.hu.copy()
    hu[: case.slices] = apply_gain(case.unclipped, case.sharp.geometry.spacing[1:], simulated_gain(kernel))
    floor = case.meta["floor"]
    return hu if floor["kind"] == "none" else np.maximum(hu, np.float32(floor["value"]))


def transferred(volume: CTVolume, gain: Gain, *, restore: bool) -> FloatArray:
    """Linear transfer without a network, with or without restoration of truncated values; float32 (k, j, i), HU."""
    hu = base_and_lost(volume, gain)[0] if restore else filter_slices(volume, gain, "Linear transfer", ProgressTracker())
    floor = detect_floor(volume.hu, volume.padding_mask)
    return hu if floor.kind == "none" else np.maximum(hu, np.float32(TARGET_FLOOR_HU))


def base_and_lost(volume: CTVolume, gain: Gain) -> tuple[FloatArray, FloatArray]:
    """The image that the network corrects, and the HU lost to truncation: two float32 (k, j, i), HU."""
    floor = detect_floor(volume.hu, volume.padding_mask)
    return restoration(volume, find_body(volume), floor, gain).of(slice(0, len(volume.hu)))


def exact_gain(case: Case) -> Gain:
    """Gain from the simulated sharp kernel to B20f.

    Raises:
        InputError: the kernel of the pair is not known exactly.
    """
    if case.meta["sharp_kernel"].get("estimated") is not None:
        raise InputError(f"The kernel of {case.name} is not known exactly; only simulated pairs have an exact gain.")
    return simulated_gain(case.meta["sharp_kernel"])
