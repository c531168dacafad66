"""The normalization methods behind the one protocol."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..network.backends import Device
from ..network.model_folder import load_model
from .frequency_bands import normalize_bands
from .linear import FilterNormalizer, linear_transfer
from .median_gaussian import heuristic_filter
from .protocol import DEFAULT_METHOD, METHODS, Method, Normalizer
from .restored import restored_linear_transfer
from .unet import UNetNormalizer


def create_normalizer(method: Method, *, model: str | Path | None = None, device: Device = "auto") -> Normalizer:
    """The normalizer of that name.

    Args:
        method: one of :data:`METHODS`.
        model: identifier or folder, for ``unet`` only; default: the one the product names so.
        device: where the network computes.

    Raises:
        InputError: no such method, model or device (the message names those there are), or a model for a method without one.
        ModelError: the model cannot be used.
    """
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    _refuse_unused_model(method, model)
    if method == "unet":
        return UNetNormalizer(load_model(model), device)
    computations = {
        "restored": restored_linear_transfer,
        "bands": normalize_bands,
        "heuristic": heuristic_filter,
        "linear": linear_transfer,
    }
    return FilterNormalizer(method, computations[method])


def chosen_method(method: Method | None, model: str | Path | None) -> Method:
    """The method that was given; else ``unet`` if a ``model`` is named, and the default method if not.

    Raises:
        InputError: a model for a method that would silently ignore it.
    """
    chosen = method or (DEFAULT_METHOD if model is None else "unet")
    _refuse_unused_model(chosen, model)
    return chosen


def _refuse_unused_model(method: Method, model: str | Path | None) -> None:
    if model is not None and method != "unet":
        raise InputError(f"The method {method} uses no network, so the model {str(model)!r} would be ignored; leave it out.")
