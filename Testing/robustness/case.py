"""What a case is, and how its outcome is judged."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from KernelNormalizationLib.core.errors import CTKernelError
from KernelNormalizationLib.core.volume import CTVolume

# From harmless to harmful. "refused though right" is a valid input turned away; the others from "silent wrong" on are faults.
Outcome = Literal[
    "right", "clean error", "refused though right", "unclear words", "silent wrong", "traceback", "hang", "abort", "memory"
]
FAULTS: tuple[Outcome, ...] = ("refused though right", "unclear words", "silent wrong", "traceback", "hang", "abort", "memory")


@dataclass(frozen=True)
class Truth:
    """What a valid input says: HU (k, j, i), and the spacing (mm, slice first) if that can be told."""

    hu: np.ndarray
    spacing: tuple[float, float, float] | None = None


class Refuse:
    """The input must be refused."""


class Either:
    """A refusal is right; what is accepted must be what :attr:`truth` reads, unless that cannot read it either.

    Args:
        truth: an independent reader of the same files.
    """

    def __init__(self, truth: Callable[[], Truth]) -> None:
        self.truth = truth


Expectation = Truth | Refuse | Either


@dataclass(frozen=True)
class Case:
    """One input, made in a folder of its own.

    Attributes:
        name: kind of input and of damage.
        run: gives what the product makes of it, or raises.
        expected: what it must make of it.
    """

    name: str
    run: Callable[[], Any]
    expected: Expectation


Maker = Callable[[np.random.Generator, Path], Case]
# Words of libraries and of Python that tell a physician nothing.
_UNCLEAR = re.compile(
    r"itk::|0x[0-9a-f]{6}|object has no attribute|Traceback|NoneType|\[Errno|not subscriptable|could not convert|codec can't"
    r"|invalid literal|unhashable|list index|[\x00-\x08\x0b-\x1f\x7f]"
)


def judged(case: Case) -> tuple[Outcome, str]:
    """Run ``case``; its outcome and a line that says why."""
    with warnings.catch_warnings(record=True) as shown:
        # what Python shows a user by default, for every place and not only the first time
        warnings.simplefilter("ignore")
        for kind in (RuntimeWarning, UserWarning, FutureWarning):
            warnings.simplefilter("always", kind)
        found, raised = _run(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the independent reader
        outcome, detail = _acceptance(case, found) if raised is None else raised
    if shown and outcome not in FAULTS:
        return "unclear words", f"a library warns: {shown[0].category.__name__}: {shown[0].message}"[:200]
    return outcome, detail


def _run(case: Case) -> tuple[Any, tuple[Outcome, str] | None]:
    """What the product makes of the case, or the outcome if it raises."""
    try:
        return case.run(), None
    except CTKernelError as error:
        return None, _refusal(case, str(error))
    except Exception as error:  # noqa: BLE001
        # whatever is not an expected error is what this program looks for
        return None, ("traceback", f"{type(error).__name__}: {error}"[:200])


def _refusal(case: Case, message: str) -> tuple[Outcome, str]:
    if not message or _UNCLEAR.search(message):
        return "unclear words", message[:200]
    if isinstance(case.expected, Truth):
        return "refused though right", message[:200]
    return "clean error", message[:200]


def _acceptance(case: Case, found: Any) -> tuple[Outcome, str]:
    expected = case.expected
    if isinstance(expected, Refuse):
        return "silent wrong", "accepted"
    if isinstance(expected, Either):
        try:
            expected = expected.truth()
        except Exception as error:  # noqa: BLE001
            return "silent wrong", f"accepted; the independent reader says {type(error).__name__}: {error}"[:200]
    return _compared(expected, found)


def _compared(truth: Truth, found: Any) -> tuple[Outcome, str]:
    hu = found.hu if isinstance(found, CTVolume) else np.asarray(found)
    if hu.shape != truth.hu.shape:
        return "silent wrong", f"shape {hu.shape} for {truth.hu.shape}"
    difference = float(np.abs(hu.astype(float) - truth.hu).max())
    if not difference <= 1e-2:
        return "silent wrong", f"values differ by up to {difference:g}"
    if truth.spacing is not None and not np.allclose(found.geometry.spacing, truth.spacing, rtol=1e-3):
        return "silent wrong", f"spacing {found.geometry.spacing} for {truth.spacing}"
    return "right", ""
