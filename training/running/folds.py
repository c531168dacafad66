"""Cross-validation folds of patients: each patient is tested once and has only one role in every fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from KernelNormalizationLib.core.errors import InputError

LEAST_FOLDS = 3


@dataclass(frozen=True)
class Fold:
    """One fold: names of the patients for training, validation and testing, each sorted.

    Raises:
        ValueError: a patient has two roles, or a role has no patients.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        sides = (self.train, self.validation, self.test)
        everyone = [name for side in sides for name in side]
        if len(set(everyone)) < len(everyone) or not all(sides):
            raise ValueError(f"A fold needs three sides without a common patient, not {sides}.")


def make_folds(names: Sequence[str], count: int, seed: int) -> list[Fold]:
    """Divide patients into folds of nearly equal test sets; the test set of the next fold is the validation set.

    With 71 patients and six folds, each fold has 11 or 12 patients for testing, 11 or 12 for validation and 47 to 49 for
    training, as in the paper (section 2.2).

    Args:
        names: names of the patients, all different, in any order.
        count: number of folds, at least 3.
        seed: seed of the division.

    Raises:
        InputError: there are too few folds or patients, or a name occurs twice.
    """
    if len(set(names)) < len(names):
        raise InputError("Two patients have the same name; folds could not keep them apart.")
    if not LEAST_FOLDS <= count <= len(names):
        raise InputError(f"{count} folds of {len(names)} patients are not possible; choose {LEAST_FOLDS} to {len(names)}.")
    order = np.random.default_rng(seed).permutation(len(names))
    parts = [sorted(np.asarray(sorted(names))[part].tolist()) for part in np.array_split(order, count)]
    folds = []
    for n, test in enumerate(parts):
        validation = parts[(n + 1) % count]
        training = sorted(set(names) - set(test) - set(validation))
        folds.append(Fold(tuple(training), tuple(validation), tuple(test)))
    return folds
