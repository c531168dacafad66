"""The scans that a model was made for and tested on: the section ``domain`` of its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ModelError
from ..plain_text import quoted

DOMAIN_KEY = "domain"

Range = tuple[float, float]


@dataclass(frozen=True)
class Domain:
    """Scans that a model was made for; the defaults are those of the supplied models.

    Attributes:
        makers: makers of scanners, named as in :mod:`..kernels.kernel_names`. Only Siemens kernels were simulated.
        family: kernel family.
        kernel_numbers: lowest and highest sharpness number; B50f to B80f were simulated.
        pixel_mm: lowest and highest in-plane spacing, mm; that of the simulated patients.
        slice_mm: lowest and highest slice thickness, mm. Simulations had 0.7 to 8 mm, the measured real pairs 1 and 5 mm. The
            range is that of the real pairs, extended down to 0.5 mm for the thin series of newer scanners.
        reconstructions: kinds of reconstruction; only filtered back-projection was simulated.
    """

    makers: tuple[str, ...] = ("Siemens",)
    family: str = "B"
    kernel_numbers: Range = (50.0, 80.0)
    pixel_mm: Range = (0.5, 0.95)
    slice_mm: Range = (0.5, 5.0)
    reconstructions: tuple[str, ...] = ("filtered back-projection",)

    def as_card(self) -> dict[str, Any]:
        """The section of the card, JSON-serializable."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_card(cls, section: Any) -> Domain:
        """Read the section of a card; older cards without it have the default domain.

        Raises:
            ModelError: the section is damaged.
        """
        if section is None:
            return cls()
        try:
            return cls(
                makers=_texts(section["makers"]),
                family=str(section["family"]),
                kernel_numbers=_range(section["kernel_numbers"]),
                pixel_mm=_range(section["pixel_mm"]),
                slice_mm=_range(section["slice_mm"]),
                reconstructions=_texts(section["reconstructions"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            problem = quoted(error) if isinstance(error, ValueError) else "an entry is missing, or of another kind"
            raise ModelError(
                f"The model card's section “{DOMAIN_KEY}” is damaged ({problem}); copy the model folder again."
            ) from error


def domain_of(card: Mapping[str, Any]) -> Domain:
    """The domain of a parsed card.

    Raises:
        ModelError: the section is damaged.
    """
    return Domain.from_card(card.get(DOMAIN_KEY))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise ValueError(f"{value!r} is no list of texts")
    return tuple(value)


def _range(value: Any) -> Range:
    try:
        low, high = (float(end) for end in value)
    except ValueError:
        raise ValueError(f"{value!r} is no range") from None
    if not low <= high:
        raise ValueError(f"{value!r} is no range")
    return low, high
