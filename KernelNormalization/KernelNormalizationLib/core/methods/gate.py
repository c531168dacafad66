"""The gate before a normalization: a refused scan is not normalized unless the user overrides the refusal, on record."""

from __future__ import annotations

from dataclasses import replace

from ..progress import Progress
from ..suitability import assess, require_accepted
from ..volume import CTVolume
from .protocol import GATE_KEY, UNCHANGED_KEY, Method, NormalizationResult, Normalizer
from .result import build_result

# These two filter every scan, whatever its kernel; the other methods leave an already smooth scan unchanged by themselves.
CHANGING_METHODS: tuple[Method, ...] = ("bands", "heuristic")
OVERRIDDEN = "The scan was refused, and the refusal was overridden by the user."


def normalize_gated(
    normalizer: Normalizer, volume: CTVolume, progress: Progress, override: bool = False
) -> NormalizationResult:
    """Normalize ``volume`` if the gate does not refuse it, and record the verdict of the gate.

    Args:
        normalizer: the method.
        volume: the scan.
        progress: receives the steps; cancellation is checked between them.
        override: whether the user wants a refused scan to be normalized anyway, and a smooth one to be filtered.

    Raises:
        InputError: the scan is refused, or cannot be processed.
        Cancelled: the user stopped the run.
    """
    suitability = assess(volume)
    require_accepted(suitability, override)
    if suitability.verdict == "already smooth" and normalizer.method in CHANGING_METHODS and not override:
        result = build_result(volume, volume.hu, normalizer.method, suitability, {UNCHANGED_KEY: True, "seconds": 0.0})
    else:
        result = normalizer.normalize(volume, progress)
    record = {**result.record, GATE_KEY: {"verdict": suitability.verdict, "overridden": suitability.refused}}
    if suitability.refused:
        record["warnings"] = [OVERRIDDEN, *record.get("warnings", [])]
    return replace(result, record=record)
