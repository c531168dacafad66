"""An emphysema index with the error that normalization leaves in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

from KernelNormalizationLib.core.errors import InputError, ModelError
from KernelNormalizationLib.core.methods.protocol import ERRORS_PATH, RESTORATION_KEY
from KernelNormalizationLib.core.network.model_files import verify_card
from KernelNormalizationLib.core.network.model_folder import CARD, models_folder

from .emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from .left_open import OpenProperty, open_variances, read_left_open

# The card's key, and the provenance record's keys of an ensemble.
STRATA_KEY = "ei_error_strata"
ENSEMBLE_KEY, ENSEMBLE_SD_KEY = "ensemble", "ei_sd_points"
CONFIDENCE = 0.95
# A standard deviation of fewer patients is itself unknown by a factor of two.
MINIMUM_PATIENTS = 5
# Said of records made before the hypotheses were written down.
NOT_RECORDED = (
    "which scanner properties the scan does not show was not recorded, so the interval holds for scanners like these patients'"
)


@dataclass(frozen=True)
class ErrorStratum:
    """Error of a normalization method in cross-validation, for scans of one range of EI.

    The error is EI(normalized) - EI(real or simulated smooth kernel) of patients that the network had not seen.

    Attributes:
        ei_from: %, lower bound of the range of the *normalized* EI (inclusive); the true one is not known when it is used.
        ei_to: %, upper bound (exclusive; 100 belongs to the last range).
        error_sd_points: percentage points, standard deviation of the error (divisor n - 1).
        patients: number of patients behind it.
        bias_points: percentage points, mean of the error.
        population: who they were, in a word or two ("simulated patients").
    """

    ei_from: float
    ei_to: float
    error_sd_points: float
    patients: int
    bias_points: float = 0.0
    population: str = "patients"

    def holds(self, ei_percent: float) -> bool:
        """Whether the range holds this EI (%)."""
        return self.ei_from <= ei_percent < self.ei_to or ei_percent == self.ei_to == 100.0

    @property
    def basis(self) -> str:
        """In words for the reader of a report."""
        return (
            f"the error in {self.patients} {self.population} with EI {self.ei_from:g} to {self.ei_to:g} % that the method "
            f"was not trained on (mean {self.bias_points:+.2f}, SD {self.error_sd_points:.2f} points)"
        )


@dataclass(frozen=True)
class EIInterval:
    """95 % interval of the emphysema index that the real smooth kernel would have given.

    Attributes:
        low: %, at least 0.
        high: %, at most 100.
        basis: what the interval rests on, in words.
    """

    low: float
    high: float
    basis: str


def ei_interval(
    ei_percent: float,
    strata: Sequence[ErrorStratum] = (),
    ensemble_sd_points: float | None = None,
    left_open: Sequence[OpenProperty] = (),
) -> EIInterval | None:
    """Interval from the cross-validated error at such an index, the spread of an ensemble, and unknown scanner properties.

    A prediction interval for one more patient: EI - bias +- t sqrt(SD^2 (1 + 1 / n) + ensemble SD^2 + open^2), t being
    Student's 97.5 % quantile for n - 1 degrees of freedom (normal without a stratum), and open^2 the second moment of what the
    scan leaves open on that side (:func:`.leftopen.open_variances`), so that the sides may differ. Adding the variances takes
    the parts as independent; some of the ensemble's spread and of what is open is in the cross-validated error already, so the
    interval is rather too wide.

    Args:
        ei_percent: %, index on the normalized volume.
        strata: cross-validated errors; the stratum that holds ``ei_percent`` is used, if it has at least 5 patients.
        ensemble_sd_points: SD of the index between the networks of an ensemble, percentage points.
        left_open: properties of the scanner that the scan does not tell. They widen an interval, but make none: the error of
            the method itself is not in them.

    Returns:
        ``None`` when neither error nor spread is known: no interval is better than an invented one.

    Raises:
        InputError: the index is no percentage.
    """
    if not 0.0 <= ei_percent <= 100.0:
        raise InputError(f"An emphysema index of {ei_percent:g} % is impossible; give one from 0 to 100 %.")
    stratum = next((s for s in strata if s.holds(ei_percent) and s.patients >= MINIMUM_PATIENTS), None)
    if stratum is None and ensemble_sd_points is None:
        return None
    variance, centre, basis = 0.0, ei_percent, []
    quantile = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    if stratum is not None:
        centre -= stratum.bias_points
        variance += stratum.error_sd_points**2 * (1.0 + 1.0 / stratum.patients)
        from scipy.special import stdtrit  # slow to import, and only results of a normalization need it

        quantile = float(stdtrit(stratum.patients - 1, 0.5 + CONFIDENCE / 2))
        basis.append(stratum.basis)
    if ensemble_sd_points is not None:
        variance += ensemble_sd_points**2
        basis.append(f"ensemble spread {ensemble_sd_points:.2f} points")
    tried = [p for p in left_open if p.known]
    if left_open:
        each = ", ".join(p.basis for p in [*tried, *_untried(left_open)])
        basis.append(f"and from scanner properties that one scan does not show: {each}")
    below, above = open_variances(tried)
    low, high = centre - quantile * math.sqrt(variance + below), centre + quantile * math.sqrt(variance + above)
    return EIInterval(_percentage(low), _percentage(high), "; ".join(basis))


def _untried(left_open: Sequence[OpenProperty]) -> list[OpenProperty]:
    return [replace(p, reason=f"not tried: {p.reason}") for p in left_open if not p.known]


def interval_of_normalized(
    ei_percent: float,
    provenance: Mapping[str, Any],
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    models: Path | None = None,
) -> EIInterval | None:
    """Interval for a normalized volume, found by its provenance record.

    The record names the model; the errors stand in that model's card, those of the method without a network beside that
    method. They count only for what they were measured with: the very weights (SHA-256) and version of the restoration.

    Args:
        ei_percent: %, EI of both lungs on the normalized volume.
        provenance: record of the normalization; may be empty.
        threshold_hu: HU of ``ei_percent``; errors are known for -950 HU only.
        models: folder of model folders; default: the models that come with the product.

    Returns:
        ``None`` when nothing is known of the error: no model, no errors in its card, another threshold.

    Raises:
        ModelError: the card or its errors are damaged.
        InputError: the index is no percentage, or what the record says to be open is damaged.
    """
    if threshold_hu != EMPHYSEMA_THRESHOLD_HU:
        return None
    left_open = read_left_open(provenance)
    strata, spread = _strata_of(provenance, models or models_folder()), _ensemble_sd(provenance)
    found = ei_interval(ei_percent, strata, spread, left_open or ())
    if found is None:
        return None
    verdict = _mapping(provenance.get("input")).get("verdict")
    doubts = [] if left_open is not None else [NOT_RECORDED]
    if verdict not in (None, "in domain"):
        doubts.append(f"the scan is outside the model's domain ({verdict}), so the error may be larger")
    return EIInterval(found.low, found.high, "; ".join([found.basis, *doubts]))


def read_strata(card: Mapping[str, Any]) -> tuple[ErrorStratum, ...]:
    """The errors in a model card, none when it has none.

    Raises:
        ModelError: an entry lacks a field or holds an impossible value.
    """
    try:
        strata = tuple(_stratum(entry) for entry in card.get(STRATA_KEY, ()))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise ModelError(f"{STRATA_KEY} of model {card.get('id')} is damaged ({problem}); export the model again.") from error
    for s in strata:
        if not (0.0 <= s.ei_from < s.ei_to <= 100.0 and math.isfinite(s.bias_points) and 0.0 <= s.error_sd_points < 100.0):
            raise ModelError(f"{STRATA_KEY} of model {card.get('id')} holds the impossible {s}; export the model again.")
    return strata


def _stratum(entry: Mapping[str, Any]) -> ErrorStratum:
    return ErrorStratum(
        float(entry["ei_from"]),
        float(entry["ei_to"]),
        float(entry["error_sd_points"]),
        int(entry["patients"]),
        float(entry.get("bias_points", 0.0)),
        str(entry.get("population", "patients")),
    )


def _strata_of(provenance: Mapping[str, Any], models: Path) -> tuple[ErrorStratum, ...]:
    if provenance.get("method") == "restored":
        errors = _read_errors(ERRORS_PATH)
        return read_strata(errors) if provenance.get(RESTORATION_KEY) == errors.get(RESTORATION_KEY) else ()
    model, weights = provenance.get("model"), provenance.get("model_sha256")
    if not isinstance(model, str) or Path(model).name != model:
        return ()
    path = models / model / CARD
    if not path.is_file():
        return ()
    card = _read_errors(path)
    if weights not in _mapping(card.get("sha256")).values():
        return ()
    verify_card(dict(card), path)
    same = RESTORATION_KEY not in card or card[RESTORATION_KEY] == provenance.get(RESTORATION_KEY)
    return read_strata(card) if same else ()


def _read_errors(path: Path) -> Mapping[str, Any]:
    """A model card, or what else holds errors; empty if it is no JSON object.

    Raises:
        ModelError: no JSON.
    """
    try:
        return _mapping(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not valid JSON ({error}); copy the model folder again.") from error


def _ensemble_sd(provenance: Mapping[str, Any]) -> float | None:
    value = _mapping(provenance.get(ENSEMBLE_KEY)).get(ENSEMBLE_SD_KEY)
    return float(value) if isinstance(value, int | float) and 0.0 <= value < math.inf else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _percentage(value: float) -> float:
    return min(100.0, max(0.0, value))
